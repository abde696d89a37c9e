"""KV in another form: bytes on the wire, GPU time at both ends, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simpy import Environment

from simkv import model
from simkv.compare import compare
from simkv.compute.gpu import Gpu, GpuSequence
from simkv.compute.kernel import Kernel
from simkv.compute.layer_passes import LayerStepTime
from simkv.compute.measured import MeasuredStepTime
from simkv.compute.op_law import OpLaw
from simkv.compute.op_table import LAYER_PASSES, OpTable, layer_tables
from simkv.compute.profile import PROFILES
from simkv.compute.steptime import FixedStepTime
from simkv.errors import InputError
from simkv.kv.codec import CODEC
from simkv.policies import BATCHING
from tests.unit.little_worlds import BLOCK_BYTES, CLOSE, little, scenario, session, turn
from tests.unit.measured_tables import SHAPE as TOY
from tests.unit.measured_tables import ops

MEMORY_BYTES_PER_S = 1e9
SLOW = "{name: analytic, peak: 1000000 TFLOP/s, peak_memory: 1 GB/s, memory_efficiency: 1.0}"
RATIO = {"identity": 1.0, "int8": 34 / 64, "int4": 18 / 64}  # a 2-byte scale for 32 elements of 2 bytes
LOSSY = ["int8", "int4"]


# -- bytes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "ratio"), RATIO.items())
def test_a_group_of_32_takes_its_integers_and_a_scale(name: str, ratio: float) -> None:
    """64 bytes become 32 + 2, or 16 + 2."""
    assert CODEC.create(name).wire_bytes(BLOCK_BYTES, 2) == BLOCK_BYTES * ratio


@given(elements=st.integers(1, 10_000), group=st.integers(1, 512))
def test_fewer_bits_are_fewer_bytes_and_scales_come_on_top(elements: int, group: int) -> None:
    """For any size and group, in particular where the last group is not full and the last byte half empty."""
    int8, int4 = (CODEC.create(name, {"group": group}).wire_bytes(2 * elements, 2) for name in LOSSY)
    scales_bytes = 2 * -(-elements // group)
    assert (int8, int4) == (elements + scales_bytes, (elements + 1) // 2 + scales_bytes)


# -- time ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "ratio"), RATIO.items())
def test_coding_and_decoding_read_one_form_and_write_the_other(tmp_path: Path, name: str, ratio: float) -> None:
    """Two blocks: computed at the sender, coded, sent in a second each where whole, decoded, prefilled upon."""
    step_time = PROFILES.create("analytic", _SLOW).step_time(model.get("Qwen2.5-0.5B"))
    kernel_s = 0.0 if name == "identity" else 2 * BLOCK_BYTES * (1 + ratio) / MEMORY_BYTES_PER_S
    played = little(
        tmp_path, session(turn(0), chunks=[32]), gpu=SLOW, sender_gpu=SLOW, codec=name, control="0 B", step=64
    )
    computed_s = step_time.step([(32, 0)], 0, 0, 0)
    expected_s = 0.1 + computed_s + kernel_s + 2.0 * ratio + 0.1 + kernel_s + step_time.step([(1, 32)], 0, 0, 1)
    assert played.column("first_token_s") == [pytest.approx(expected_s, **CLOSE)]
    assert played.world.gpus["receiver"].demand_s == pytest.approx(
        kernel_s + step_time.step([(1, 32)], 0, 0, 1), **CLOSE
    )


_SLOW = {
    "peak_flop_per_s": 1e18,
    "peak_memory_bytes_per_s": MEMORY_BYTES_PER_S,
    "memory_efficiency": 1.0,
}


@pytest.mark.parametrize("name", LOSSY)
def test_where_kernels_take_no_time_a_codec_is_a_faster_link(tmp_path: Path, name: str) -> None:
    """Same times to the last digit but rounding: pushes, demand, late pushes, and all else that follows."""
    talk = [session(turn(0), turn(1, think=1.5), turn(2, think=0.3), chunks=[16, 48, 32], name=who) for who in "ab"]
    told = {"prefetch": "{name: threshold, threshold: 0.1}", "predictor": "sequential"}
    coded = little(tmp_path, *talk, codec=name, **told)
    faster = little(tmp_path, *talk, down=f"{1572.864 / RATIO[name]} kbit/s", **told)
    assert coded.column("first_token_s") == pytest.approx(faster.column("first_token_s"), **CLOSE)
    assert coded.units == faster.units
    assert {key: moved / RATIO[name] for key, moved in coded.wire_bytes.items()} == pytest.approx(
        faster.wire_bytes, abs=9
    )


def test_speculation_pays_for_its_kernels_too(tmp_path: Path) -> None:
    """GPU seconds that a push spent on coding and decoding are its own: counted as speculative, at both ends."""
    played = little(
        tmp_path,
        session(turn(0), turn(1, think=30.0), chunks=[16, 16]),
        **{"gpu": SLOW, "sender_gpu": SLOW, "codec": "int8", "prefetch": "oracle", "step": 64},
    )
    kernel_s = BLOCK_BYTES * (1 + RATIO["int8"]) / MEMORY_BYTES_PER_S
    assert played.units == {"used_in_time": 1}
    assert played.world.gpus["receiver"].speculative_s == pytest.approx(kernel_s, **CLOSE)


SHAPE = model.get("Qwen2.5-0.5B")


def law_of(name: str, rows: list[tuple[float, float]]) -> OpLaw:
    return OpLaw(OpTable(name, rows), ["tokens"], [1.0], "table")


def kernel(seconds: float, ended: list[tuple[str, float]], env: Environment, name: str, speculative: bool) -> Kernel:
    return Kernel(seconds, speculative=speculative, on_finished=lambda: ended.append((name, env.now)))


def test_kernels_take_the_gpu_between_steps_and_speculative_ones_when_it_is_idle() -> None:
    """Decode steps of 1 s from 0: a kernel of 0.25 s that comes at 0.5 runs from 1; one that is speculative at the end,
    or where it is promoted, at the next boundary."""
    env, ended = Environment(), list[tuple[str, float]]()
    gpu = Gpu(env, FixedStepTime(0.0, 1.0), BATCHING.create("chunked-fcfs"))
    gpu.submit(GpuSequence(1, output_tokens=5, on_finished=lambda: ended.append(("answer", env.now))))
    idle, promoted = (kernel(0.25, ended, env, name, speculative=True) for name in ("idle", "promoted"))

    def come(_: object) -> None:
        gpu.kernels.launch(kernel(0.25, ended, env, "demand", speculative=False))
        gpu.kernels.launch(idle)
        gpu.kernels.launch(promoted)

    env.timeout(0.5).callbacks.append(come)
    env.timeout(2.0).callbacks.append(lambda _: gpu.kernels.promote(promoted))
    env.run()
    assert ended == [("demand", 1.25), ("promoted", 2.5), ("answer", 4.5), ("idle", 4.75)]
    assert (gpu.demand_s, gpu.speculative_s, gpu.is_idle) == (4.5, 0.25, True)


def test_a_calibration_prices_kernels_by_what_it_measured() -> None:
    """2 ms a layer at 16 tokens and 4 ms at 32, of each of 24 layers; what it did not measure is refused."""
    made = law_of("quantise_int8_token", [(16, 2e-3), (32, 4e-3)])
    priced = LayerStepTime(dict.fromkeys(LAYER_PASSES, made) | {"quantise_int8_token": made}, None, None, SHAPE)
    assert priced.kernel_s("quantise_int8_token", 32, 0) == pytest.approx(24 * 4e-3)
    assert not priced.outside
    priced.kernel_s("quantise_int8_token", 64, 0)
    assert priced.outside
    with pytest.raises(InputError, match="no times of quantise_int4_token"):
        priced.kernel_s("quantise_int4_token", 32, 0)


def test_tables_of_steps_price_kernels_by_how_fast_decodes_read_kv() -> None:
    """Toy tables take 1 ns a layer and token of context, 10 % more or less: 3 ms for the KV of 1,000,000 tokens."""
    tables = layer_tables(ops(), skewed=False)
    priced = MeasuredStepTime(tables, TOY)
    million_bytes = 1_000_000 * TOY.kv_bytes_per_token
    assert priced.kernel_s("quantise_int8_token", 16, million_bytes) == pytest.approx(3e-3, rel=0.2)
    assert priced.outside
    assert priced.kernel_s("quantise_int8_token", 16, 0) == 0.0
    with pytest.raises(InputError, match="no times of quantise_int8_token"):
        MeasuredStepTime(tables, TOY, strict=True).kernel_s("quantise_int8_token", 16, 1)


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"acquisition": "text"}, "acquisition 'text' moves text; want codec: identity, or acquisition: fetch"),
        ({"acquisition": "delta"}, "acquisition 'delta' sends positions, which are not coded"),
        ({"acquisition": "perfect-residency"}, "acquisition 'perfect-residency' moves nothing"),
        ({"sender_gpu": ""}, "source 'sender' only stores and has no gpu to run codec 'int8'"),
        ({"source": ""}, "no server has a source, so no KV moves; want codec: identity"),
    ],
)
def test_a_codec_that_would_do_nothing_is_refused(tmp_path: Path, told: dict[str, str], message: str) -> None:
    """It is not accepted and ignored."""
    with pytest.raises(InputError, match=r"policies\.codec") as error:
        little(tmp_path, session(turn(0), chunks=[16]), codec="int8", **told)
    assert message in str(error.value)


def test_a_lossy_arm_is_what_nothing_is_quoted_against(tmp_path: Path) -> None:
    """It is faster, at a price in quality that is not known."""
    arms = "arms: [{name: whole}, {name: lossy, policies: {codec: int4}}]"
    compared = compare(scenario(tmp_path, session(turn(0), chunks=[64]), arms=arms, layout="document_first"))
    assert compared.summary.best == "whole"
    assert "feasible arms without speculation and codec" in str(compared)
    assert "lossy: not modelled" in str(compared)
    assert "codec int4: a block of 196,608 bytes is 49,152 nominally, 55,296 on the wire" in str(compared)
