"""What calibration runs on a device, with PyTorch: layers that compute the right thing, and the same code on a fake."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (make torch)")
pytest.importorskip("simkv.calibrate", reason="simkv.calibrate is found where simkv is installed (pip install -e .)")

import torch
from simkv.calibrate import device as devices
from simkv.calibrate import kv_probes, ops, pipeline, plan, rounds
from simkv.calibrate.device import Call, Cpu, Cuda, open_device
from simkv.calibrate.journal import Burst
from simkv.calibrate.layer import Group, Layers
from simkv.calibrate.probes import Probes

from simkv import cli
from simkv.errors import InputError
from simkv.model import ModelShape

TINY = ModelShape(
    *("tiny", 3, 32, 4, 2, 16, 64, 100), dtype_bytes=4, tied_embeddings=True, qkv_bias=True, source="nowhere"
)
CONFIG = {
    "model_type": "qwen2",
    "num_hidden_layers": 3,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 64,
    "vocab_size": 100,
    "torch_dtype": "bfloat16",
    "tie_word_embeddings": True,
}


@pytest.fixture
def layers() -> Layers:
    """Return one small layer in 32 bits."""
    return Layers(Cpu(), TINY, torch.float32, 1, 3)


# -- the layer ------------------------------------------------------------------------------------------------------


def run(layers: Layers, hidden: object, *groups: Group) -> object:
    return layers.forward(hidden, groups, layers.weights[0])  # type: ignore[arg-type]


def test_a_layer_is_what_the_formulas_say(layers: Layers) -> None:
    """Against attention written out by hand, pair by pair of heads."""
    hidden, group, of = layers.randn(5, 32), layers.chunk(5, 0), layers.weights[0]

    def norm(x: object, weight: object) -> object:
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6) * weight  # type: ignore[operator, attr-defined]

    qkv = (norm(hidden, of.norm_in) @ of.qkv.T + of.bias).view(5, 8, 16)  # type: ignore[operator]
    angle = torch.outer(torch.arange(5.0), 1e6 ** -(torch.arange(0, 16, 2) / 16)).repeat(1, 2)[:, None]
    turned = qkv * angle.cos() + torch.cat((-qkv[..., 8:], qkv[..., :8]), -1) * angle.sin()
    found = torch.empty(5, 4, 16)
    for head in range(4):
        keys, values = turned[:, 4 + head // 2], qkv[:, 6 + head // 2]
        scores = turned[:, head] @ keys.T / 4
        found[:, head] = scores.masked_fill(torch.ones(5, 5).triu(1) > 0, -math.inf).softmax(-1) @ values
    after = hidden + found.flatten(1) @ of.out.T
    gate, up = (norm(after, of.norm_mlp) @ of.gate_up.T).chunk(2, -1)  # type: ignore[operator]
    wanted = after + (gate * gate.sigmoid() * up) @ of.down.T
    torch.testing.assert_close(run(layers, hidden, group), wanted, rtol=1e-4, atol=1e-5)


def test_chunks_over_cached_kv_make_what_one_prefill_makes(layers: Layers) -> None:
    hidden, whole = layers.randn(12, 32), layers.chunk(12, 0)
    wanted = run(layers, hidden, whole)
    later = layers.chunk(4, 8)
    later.keys[:, :, :8], later.values[:, :, :8] = whole.keys[:, :, :8], whole.values[:, :, :8]
    torch.testing.assert_close(run(layers, hidden[8:], later), wanted[8:], rtol=1e-4, atol=1e-5)  # type: ignore[index]
    last = layers.decodes(1, 11)
    last.keys[:, :, :11], last.values[:, :, :11] = whole.keys[:, :, :11], whole.values[:, :, :11]
    torch.testing.assert_close(run(layers, hidden[11:], last), wanted[11:], rtol=1e-4, atol=1e-5)  # type: ignore[index]


def test_a_mixed_step_is_its_parts(layers: Layers) -> None:
    hidden, chunk, decodes = layers.randn(9, 32), layers.chunk(6, 2), layers.decodes(3, 7)
    both = run(layers, hidden, chunk, decodes)
    parts = (run(layers, hidden[:6], chunk), run(layers, hidden[6:], decodes))
    torch.testing.assert_close(both, torch.cat(parts), rtol=1e-4, atol=1e-5)  # type: ignore[arg-type]


def test_padded_decodes_see_their_own_context_alone(layers: Layers) -> None:
    """One of 9 tokens, two of 3: those read no more than 3 and their own."""
    group = layers.unequal(3, 5, 9)
    assert group.mask is not None
    assert group.mask.sum(-1).flatten().tolist() == [10, 4, 4]
    hidden = layers.randn(3, 32)
    found = run(layers, hidden, group)
    group.keys[1:, :, 3:9] = 1e3
    torch.testing.assert_close(run(layers, hidden, group), found)


# -- KV -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", ["int8", "int4", "int3", "int2"])
@pytest.mark.parametrize("per", ["token", "channel"])
def test_quantised_kv_comes_back_within_half_a_step(layers: Layers, bits: str, per: str) -> None:
    kv = kv_probes.KvProbes(layers).kv(24)
    packed, scale, least = kv_probes.quantise(kv, bits, per)
    back = kv_probes.dequantise(packed, scale, least, bits)
    assert ((back - kv).abs() <= scale / 2 + 1e-5).all()
    assert packed.numel() * 8 == kv.numel() * int(bits[3:])


@pytest.mark.parametrize("bits", ["int8", "int4", "int3", "int2"])
def test_packed_codes_come_back(bits: str) -> None:
    codes = torch.randint(2 ** int(bits[3:]), (3, 40), dtype=torch.uint8)
    assert kv_probes.unpack(kv_probes.pack(codes, bits), bits).equal(codes)


def test_the_gram_matrix_finds_what_the_whole_decomposition_finds(layers: Layers) -> None:
    kv = kv_probes.KvProbes(layers).kv(40).flatten(0, 1)
    parts, directions = kv_probes.gram(kv, 5)
    left, values, right = kv_probes.full(kv, 5)
    wanted = left * values[..., None, :] @ right
    torch.testing.assert_close(parts @ directions.mT, wanted, rtol=1e-3, atol=1e-3)


def test_scores_are_shares_of_attention(layers: Layers) -> None:
    """Each query gives away 1; columns of causal attention begin at all of the first token's."""
    kv = kv_probes.KvProbes(layers)
    assert float(kv.q2c(30, 4)().sum()) == pytest.approx(4 * 4, rel=1e-4)  # type: ignore[attr-defined]
    assert float(kv.h2o(8)().sum()) == pytest.approx(4 * 8, rel=1e-4)  # type: ignore[attr-defined]
    assert kv.snapkv(64)().shape == (2, 16)  # type: ignore[attr-defined]
    assert kv.picked("gather", 64, 7)().shape == (2, 2, 7, 16)  # type: ignore[attr-defined]


# -- devices --------------------------------------------------------------------------------------------------------


class FakeDevice(Cpu):
    """A device that computes everything, and whose every call takes a millisecond."""

    kind, clock = "fake", "cuda_event"

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def facts(self) -> Mapping[str, str]:
        return {"name": "a fake", "threads": "1"}

    def burst(self, call: Call) -> Burst:
        call()
        self.calls += 1
        return Burst(1e-3, 1e-3, 0.0, 1)


@pytest.fixture
def probes(tmp_path: Path) -> Iterator[Probes]:
    """Return everything that can be measured, of a tiny model."""
    made = Probes(FakeDevice(), TINY, torch.float32, 1, folder=tmp_path)
    yield made
    made.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ops.OPS)
def test_every_operation_runs(probes: Probes, name: str) -> None:
    """At the least and the greatest place of its quick grid, as far as a test has time."""
    todo = plan.make([name], "cpu", 60.0, 1, {})
    small = [case for case in todo.cases if math.prod(case.point) <= 2**21] or todo.cases[:1]
    for case in (small[0], min(small[-1], small[len(small) // 2], key=lambda case: math.prod(case.point))):
        burst = probes.measure(case)
        assert not burst.error
        assert burst.value_s > 0


def test_what_a_device_cannot_do_is_told(probes: Probes, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*point: int) -> Call:
        raise RuntimeError("out of memory\nand more")

    monkeypatch.setattr(probes, "call", refuse)
    burst = probes.measure(plan.Case("gather", (64, 8), plan.TRAIN))
    assert (burst.error, burst.samples) == ("out of memory", 0)


def test_a_cpu_counts_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sleeping takes none of it."""
    import time

    burst = Cpu().burst(lambda: time.sleep(0.02))
    assert burst.value_s < 0.01
    assert burst.wall_s > 0.019
    assert torch.get_num_threads() == 1


def test_no_gpu_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="--device cuda: PyTorch sees no CUDA device here"):
        open_device("cuda")


class FakeGraph:
    """A CUDA graph: what is called while it is captured, it calls again."""

    now: list[FakeGraph] = []  # noqa: RUF012 - a test's stack

    def __init__(self) -> None:
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1


def fake_cuda(capturable: bool) -> SimpleNamespace:
    """Return what `torch.cuda` is asked for, on no GPU: each replay takes 6 ms, each event pair holds 6."""

    @contextlib.contextmanager
    def graph(_: object) -> Iterator[None]:
        yield
        if not capturable:
            raise RuntimeError("operation not permitted when stream is capturing")

    def event(enable_timing: bool) -> SimpleNamespace:
        nothing = SimpleNamespace(record=lambda: None, synchronize=lambda: None, elapsed_time=lambda end: 36.0)
        return nothing if enable_timing else SimpleNamespace()

    stream = SimpleNamespace(wait_stream=lambda other: None)
    properties = SimpleNamespace(name="a GPU", total_memory=1, multi_processor_count=2, major=9, minor=0)
    return SimpleNamespace(
        Stream=lambda: stream,
        current_stream=lambda: stream,
        stream=lambda of: contextlib.nullcontext(),
        CUDAGraph=FakeGraph,
        graph=graph,
        Event=event,
        synchronize=lambda: None,
        get_device_properties=lambda index: properties,
    )


@pytest.mark.parametrize(("capturable", "value_s"), [(True, 1e-3), (False, 6e-3)])
def test_a_gpu_is_timed_over_replays(monkeypatch: pytest.MonkeyPatch, capturable: bool, value_s: float) -> None:
    """6 replays of 6 calls in 36 ms are 1 ms a call; eagerly, 6 calls are 6 ms each."""
    monkeypatch.setattr(devices.torch, "cuda", fake_cuda(capturable))
    calls: list[int] = []
    gpu = Cuda()
    burst = gpu.burst(lambda: calls.append(1))
    assert burst.value_s == pytest.approx(value_s)
    assert gpu.eager == (not capturable)
    assert len(calls) >= 3 + 6
    assert gpu.facts()["name"] == "a GPU"
    assert gpu.causal_mask(4, 4, torch.float32) is None


# -- end to end -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the profile of a tiny model on this machine, from the command line."""
    folder = tmp_path_factory.mktemp("calibrated")
    (folder / "tiny.json").write_text(json.dumps(CONFIG))
    words = ["calibrate", "--model", str(folder / "tiny.json"), "--out", str(folder / "a.json"), "--budget", "119s"]
    names = "prefill,decode,head,quantise_int8_token,dequantise_int8_token,tcp_send"
    with pytest.MonkeyPatch.context() as patch:  # two rounds, however busy the machine is
        patch.setattr(rounds, "MOST_ROUNDS", 2)
        assert cli.main([*words, "--ops", names]) == cli.DONE
    return folder / "a.json"


def test_a_device_is_calibrated(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["profile", "show", str(measured)]) == cli.DONE
    shown = capsys.readouterr().out
    assert "thread_cpu, min" in shown
    assert "wall, q20" in shown
    assert sorted(path.name for path in measured.parent.iterdir()) == [
        *("a.csv.gz", "a.json", "a.samples.csv.gz", "tiny.json")
    ]


def test_the_pipeline_is_compared_with_its_prediction(
    measured: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every stage at every size; how well two rounds predict is not asked here."""
    monkeypatch.setattr(pipeline, "_SIZES", (20, 50))
    words = ["calibrate", "--self-test", "--out", str(measured), "--model", str(measured.with_name("tiny.json"))]
    assert cli.main([*words, "--json"]) == cli.DONE
    told = json.loads(capsys.readouterr().out)
    assert {(row["stage"], row["tokens"]) for row in told["rows"]} == {
        (stage, tokens) for tokens in (20, 50) for stage in pipeline.STAGES
    }
    assert all(row["measured_s"] > 0 and row["predicted_s"] > 0 for row in told["rows"])
    assert "all: median error" in pipeline.to_text(told)
