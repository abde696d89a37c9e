"""Files of measured profiles: anything that is not as it was written is refused in one line."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("simkv.calibrate", reason="simkv.calibrate is found where simkv is installed (pip install -e .)")

from simkv import cli
from simkv.compute import calibration_file
from simkv.errors import InputError
from simkv.model import get
from tests.unit.fake_bench import calibrated

Told = Any


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """Return a good file."""
    calibrated(tmp_path, "prefill_layer,decode_layer,embedding,lm_head,quantise_int8_token")
    return tmp_path / "a.json"


def refused(path: Path, message: str) -> None:
    """One line that names the file."""
    with pytest.raises(InputError) as error:
        calibration_file.read(path)
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith(str(path.parent))
    assert message in text


def rewrite(path: Path, change: Callable[[Told], object]) -> None:
    """Change what the JSON file says."""
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))


def of_op(**values: Any) -> Callable[[Told], object]:
    """Return the change of what is known of the first operation."""
    return lambda told: told["quality"]["ops"][0].update(values)


def of(part: str, **values: Any) -> Callable[[Told], object]:
    """Return the change of a part of the quality."""
    return lambda told: told["quality"][part].update(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda told: told.pop("quality"), "quality: the key is missing"),
        (lambda told: told.update(kind="imported"), "quality: unknown key"),
        (lambda told: told["quality"].pop("anchors"), "quality.anchors: the key is missing"),
        (lambda told: told["quality"].update(extra=1), "quality.extra: unknown key"),
        (lambda told: told["quality"]["ops"].pop(), "quality.ops: want one entry for each operation"),
        (lambda told: told["quality"]["ops"].reverse(), "quality.ops: want one entry for each operation"),
        (of_op(name="lm_hat"), "wrong: lm_hat"),
        (of_op(predict="guess"), "predict: want one of fit, table, composed, got 'guess'"),
        (of_op(clock="sundial"), "clock: want one of thread_cpu, cuda_event, wall, got 'sundial'"),
        (of_op(status="perfect"), "status: want one of complete, partial, got 'perfect'"),
        (of_op(coefficients=[1e-6]), "want a coefficient for each of 6 terms, got 1"),
        (of_op(coefficients=[-1e-6] * 6), "coefficients: want finite numbers, none below 0"),
        (of_op(terms=["1"] * 5 + ["__import__"], coefficients=[1e-6] * 6), "a term reads __import__"),
        (of_op(terms=["1"] * 5 + ["tokens"]), "a term reads tokens"),
        (of_op(terms=["1"] * 5 + ["a^b"]), "term 'a^b': want a product of powers of axes"),
        (of_op(terms=["1"] * 5 + ["1[a]"]), "term '1[a]': want a condition such as"),
        (of_op(terms=[], coefficients=[], predict="fit"), "neither a table nor a fit"),
        (of_op(holdout={"n": 3, "median": -1, "p95": 0, "max": 0, "signed_median": 0}), "want errors of 0 or more"),
        (of("run", converged_share=1.5), "quality.run.converged_share: want a share from 0 to 1, got 1.5"),
        (of("run", converged=False), "quality.run.unmet: want what was not met, exactly where"),
        (of("run", rounds=2.5), "quality.run.rounds: want a whole number, got 2.5"),
        (of("load", preempted=-0.1), "quality.load: want a share from 0 to 1, got -0.1"),
        (lambda told: told["quality"]["anchors"][0].update(t_s=0), "want a time above 0, got 0"),
        (of("samples", sha256="0" * 64), "a.samples.csv.gz: not the file that was written: want SHA-256 0000"),
        (of("samples", file="../a.gz"), "quality.samples.file: want the name of a file beside it"),
        (of("samples", file="b.gz"), "b.gz: no such file"),
    ],
)
def test_a_hand_edited_quality(good: Path, change: Callable[[Told], object], message: str) -> None:
    rewrite(good, change)
    refused(good, message)


@pytest.mark.parametrize("name", ["a.json", "a.csv.gz", "a.samples.csv.gz"])
def test_a_truncated_file(good: Path, name: str) -> None:
    path = good.with_name(name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(good, "not JSON" if name == "a.json" else "not the file that was written")


@pytest.mark.parametrize("name", ["a.csv.gz", "a.samples.csv.gz"])
def test_the_file_of_another_run(good: Path, tmp_path: Path, name: str) -> None:
    """Whole, and of the same form."""
    other = tmp_path / "other"
    other.mkdir()
    calibrated(other, "lm_head")
    good.with_name(name).write_bytes((other / name).read_bytes())
    refused(good, "not the file that was written: want SHA-256")


def test_a_table_with_holes_is_not_interpolated(tmp_path: Path) -> None:
    """A row taken out, everything else made to agree with that."""
    calibrated(tmp_path, "prefill_layer")
    data = tmp_path / "a.csv.gz"
    lines = gzip.decompress(data.read_bytes()).decode().split("\n")
    del lines[5]
    data.write_bytes(gzip.compress("\n".join(lines).encode()))

    def change(told: Told) -> None:
        rows = told["data"]["rows"] - 1
        told["data"].update(rows=rows, sha256=hashlib.sha256(data.read_bytes()).hexdigest())
        told["ops"][0].update(points=rows, rows=[1, rows])
        told["quality"]["ops"][0]["predict"] = "table"

    rewrite(tmp_path / "a.json", change)
    refused(tmp_path / "a.json", "prefill_layer: its points do not fill a rectangle")


def test_another_model_and_other_operations_are_refused(good: Path, tmp_path: Path) -> None:
    read = calibration_file.read(good)
    with pytest.raises(InputError, match=r"a\.json: its times are those of Qwen2\.5-0\.5B: [a-z_]+ \d+ against"):
        read.step_time(get("Qwen2.5-3B"))
    folder = tmp_path / "kv"
    folder.mkdir()
    calibrated(folder, "quantise_int8_token")
    kv_alone = calibration_file.read(folder / "a.json")
    with pytest.raises(InputError, match=r"a\.json: no times of prefill_layer, decode_layer, embedding, lm_head"):
        kv_alone.step_time(get("Qwen2.5-0.5B"))


# -- what is shown --------------------------------------------------------------------------------------------------


def test_show_tells_how_well_it_is_known(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["profile", "show", str(good), "--plot", str(tmp_path / "a.png")]) == cli.DONE
    shown = capsys.readouterr().out
    for words in ("prices: layers", "anchors: one 1 ms", "load: 0.5 to 1.5 on 2 cores", "measured by: files ffff"):
        assert words in shown
    assert "fit 1 + prefill_chunk + kv_prefill" in shown
    assert cli.main(["profile", "show", str(good), "--json"]) == cli.DONE
    assert json.loads(capsys.readouterr().out)["quality"]["run"]["plan"] == "quick"
    assert (tmp_path / "a.png").stat().st_size > 0


def test_compare_takes_out_the_speed_of_the_machine(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A machine 1.5 times as slow differs by nothing."""
    from tests.unit.fake_bench import FakeBench

    slow = tmp_path / "slow"
    slow.mkdir()
    calibrated(slow, "lm_head,prefill_layer,tcp_send", FakeBench(slow=lambda visit: 1.5))
    words = ["profile", "compare", str(good), str(slow / "a.json")]
    assert cli.main([*words, "--plot", str(tmp_path / "c.png")]) == cli.DONE
    assert "the machine took 1.500 times as long" in capsys.readouterr().out
    assert cli.main([*words, "--json"]) == cli.DONE
    told = json.loads(capsys.readouterr().out)
    assert {row["op"]: row["median"] for row in told["ops"]} == {"prefill_layer": 0.0, "lm_head": 0.0}
    assert told["speed_ratio"] == 1.5
    assert (tmp_path / "c.png").stat().st_size > 0


def test_profiles_without_a_common_point_are_not_compared(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "tcp"
    other.mkdir()
    calibrated(other, "tcp_send")
    assert cli.main(["profile", "compare", str(good), str(other / "a.json")]) == cli.INVALID
    assert "no point that" in capsys.readouterr().err
