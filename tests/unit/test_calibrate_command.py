"""`simkv calibrate` from the outside: what it refuses, before any time is spent."""

from __future__ import annotations

import configparser
import importlib.util
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("simkv.calibrate", reason="simkv.calibrate is found where simkv is installed (pip install -e .)")

from simkv.calibrate import wire

from simkv import cli, cli_calibrate
from simkv.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
HAS_TORCH = importlib.util.find_spec("torch") is not None


def refused(capsys: pytest.CaptureFixture[str], message: str, *words: str) -> None:
    """Exit code 2 and one line."""
    assert cli.main(["calibrate", *words]) == cli.INVALID
    told = capsys.readouterr()
    assert told.out == ""
    assert message in told.err


def test_without_torch_it_says_what_is_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(cli_calibrate.importlib.util, "find_spec", lambda name: None)
    refused(capsys, "error: calibrate needs PyTorch: pip install 'simkv[calibrate]'", "--out", str(tmp_path / "a.json"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "want --out NAME.json"),
        (("--budget", "soon"), "--budget wants a time such as 20s or 10m, got 'soon'"),
        (("--budget", "0s"), "--budget wants a time"),
        (("--serve", "here"), "--serve wants HOST:PORT, got 'here'"),
        (("--device", "abacus"), "'abacus' is not one of"),
    ],
)
def test_words_that_mean_nothing(words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, message, *words)


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed (make torch)")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--out", "a.txt"), "a.txt: want a name that ends in .json"),
        (("--out", "absent/a.json"), "absent/a.json: there is no folder absent"),
        (("--out", "a.json", "--ops", "decodes"), "--ops: unknown 'decodes'; did you mean 'decode'?"),
        (("--out", "a.json", "--model", "gpt2"), "unknown model 'gpt2'"),
        (("--out", "a.json", "--model", "Qwen3-30B-A3B"), "experts are not measured; want a dense model"),
        (("--out", "a.json", "--self-test"), "a.json: no such file"),
    ],
)
def test_wishes_that_cannot_be_met(
    words: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(capsys, message, *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed (make torch)")
def test_an_interrupted_run_says_that_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from simkv.calibrate import command

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "calibrate", interrupt)
    assert cli.main(["calibrate", "--out", str(tmp_path / "a.json")]) == cli.INTERRUPTED
    assert "what was measured is kept; to go on, say the same again" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "wanted"), [("20s", 20.0), ("10m", 600.0), ("1.5 min", 90.0), ("1h", 3600.0)])
def test_budgets(text: str, wanted: float) -> None:
    assert cli_calibrate._seconds(text) == wanted


def test_the_module_is_the_command() -> None:
    """`python -m calibrate` at the top of the repository."""
    done = subprocess.run(
        [sys.executable, "-m", "calibrate", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--self-test" in done.stdout


def test_no_package_is_missing_from_setup() -> None:
    """Packages are listed by name, so that one of them may lie elsewhere."""
    setup: Any = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "simkv").rglob("*.py")}
    assert set(setup["options"]["packages"].split()) == there | {"simkv.calibrate"}


# -- TCP ------------------------------------------------------------------------------------------------------------


def test_bytes_come_back_as_they_went() -> None:
    payload = bytes(range(256)) * 4096
    with wire.Peer() as peer:
        peer.send(memoryview(payload))
        room = bytearray(len(payload))
        peer.receive(memoryview(room))
    assert room == payload


def test_a_receiver_on_another_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--serve` there, `--peer` here; it outlives a sender that goes."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    thread = threading.Thread(target=wire.serve, args=("127.0.0.1", port, False), daemon=True)
    thread.start()
    for _ in range(2):
        peer = _patient(f"127.0.0.1:{port}")
        peer.send(memoryview(b"kv"))
        peer.close()
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.sendall(b"Q" + bytes(8))
        thread.join(10)
    assert not thread.is_alive()


def _patient(address: str) -> wire.Peer:
    for _ in range(100):
        try:
            return wire.Peer(address)
        except InputError:
            threading.Event().wait(0.05)
    raise AssertionError("nobody answers")


def test_nobody_there_is_told() -> None:
    with pytest.raises(InputError, match=r"--peer 127\.0\.0\.1:1: want HOST:PORT where `simkv calibrate --serve` runs"):
        wire.Peer("127.0.0.1:1")
