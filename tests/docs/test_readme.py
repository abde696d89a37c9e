"""README.md and CONTRIBUTING.md tell the truth: their commands run, their targets and links exist."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from simkv.profiling import open_profile
from simkv.profiling.writing import write
from tests.conftest import DATA
from tests.unit.measured_tables import npz, tables
from tests.unit.vllm_run import vllm_run

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    """Return the fenced blocks in one language."""
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands(program: str) -> list[str]:
    """Return the lines of README's shell blocks that start with a program, comments off."""
    lines = [line.split("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith(f"{program} ")]


def simkv(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line as a person would, in a folder that has the repository's scenarios and traces."""
    for name in ("scenarios", "traces"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return subprocess.run(
        [sys.executable, "-m", "simkv.cli", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_first_example_stands_within_ten_lines() -> None:
    """A reader meets a command before the first screen ends."""
    assert any("make run" in line for line in README.splitlines()[:10])


def test_there_are_commands_to_check() -> None:
    """The checks below would pass on a README without examples."""
    assert len(commands("simkv")) >= 6
    assert commands("make") == ["make run"]
    assert len(blocks("python")) == 1


def with_data(argument: str) -> str:
    """Return the real folder that an argument stands for, or skip where it is absent."""
    folder = DATA / "gpu_profiles"
    if argument != "TABLES":
        return argument
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set SIMKV_DATA)")
    return str(folder)


def prepare(command: str, folder: Path) -> None:
    """Write what earlier lines of the page wrote, and the files of strangers that they name, small."""
    (folder / "cell.down").write_text("3\n9\n40\n")
    if command.startswith(("simkv explain", "simkv report")):
        assert simkv(["run", "scenarios/three_turns.yaml"], folder).returncode == 0
    if command.startswith("simkv profile compare"):
        for name in ("mine", "again"):
            write(open_profile(tables(folder / name, model="Qwen/Qwen2.5-3B")), folder / f"{name}.json")
    if command.startswith("simkv validate"):
        vllm_run(folder / "DIR")
    if command.startswith(("simkv profile", "simkv validate")):
        tables(folder / "TABLES", model="Qwen/Qwen2.5-3B")
        npz(folder / "timing.npz")
        write(open_profile(folder / "TABLES"), folder / "gpu.json")


@pytest.mark.parametrize("command", commands("simkv"))
def test_command_runs(command: str, tmp_path: Path) -> None:
    """Each `simkv` line ends with exit code 0; runs of the slice are cut to one replication here."""
    arguments = shlex.split(command.replace(" --set replications=5", ""))[1:]
    if command.startswith("simkv run scenarios/5g_slice"):
        arguments += ["--set", "replications=1", "--set", "workload.sessions=4"]
    if command.startswith("simkv calibrate"):  # one operation, in a moment
        pytest.importorskip("torch", reason="PyTorch is not installed (make torch)")
        arguments += ["--ops", "quantise_int8_token", "--budget", "10s"]
    if command.startswith("simkv profile derive"):
        arguments = [with_data(argument) for argument in arguments]
    prepare(command, tmp_path)
    done = simkv(arguments, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).strip()


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in commands("simkv") if c.startswith("simkv run")])
def test_command_runs_as_written(command: str, tmp_path: Path) -> None:
    """The same lines, word for word."""
    done = simkv(shlex.split(command)[1:], tmp_path)
    assert done.returncode == 0, done.stderr


def test_python_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python example runs as it stands, where scenarios/ lies, and prints a row an arm."""
    for name in ("scenarios", "traces"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(blocks("python")[0], "README.md", "exec"), {})
    assert "sequential" in printed.getvalue()
    assert (tmp_path / "ttft.png").stat().st_size > 0


def test_make_targets_exist() -> None:
    """Every `make x` in README and CONTRIBUTING is a documented target, and the main ones are in README."""
    targets = set(re.findall(r"^([a-z]+):.*## ", MAKEFILE, flags=re.MULTILINE))
    named = set(re.findall(r"`make ([a-z]+)`", README)) | set(re.findall(r"`make ([a-z]+)`", CONTRIBUTING))
    assert named <= targets
    assert {"run", "test", "torch", "evidence", "bench"} <= set(re.findall(r"^\| `make ([a-z]+)` \|", README, re.M))


def test_make_help_lists_the_targets() -> None:
    """`make help` prints one line a target, and is what bare `make` does."""
    done = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    listed = [line.split()[0] for line in done.stdout.splitlines()]
    assert listed[:5] == ["help", "run", "test", "torch", "evidence"]


def test_make_run_is_the_first_example() -> None:
    """`make run` runs the scenario that README speaks of."""
    assert "simkv run scenarios/5g_slice.yaml" in MAKEFILE


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """Every relative link names a file that is there."""
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


def test_contributing_example_is_a_plugin() -> None:
    """The plug-in that CONTRIBUTING shows registers under its name and answers."""
    from simkv.policies import PREFETCH

    assert "last-two" not in PREFETCH.names()
    namespace: dict[str, object] = {"__name__": "last_two"}
    try:
        exec(compile(blocks("python", CONTRIBUTING)[0], "CONTRIBUTING.md", "exec"), namespace)
        view = namespace["PrefetchView"](0.0, (4, 7, 9), 10, dict, bool, int, None)  # type: ignore[operator]
        decided = PREFETCH.create("last-two").decide(view)
        assert [prefetch.item for prefetch in decided] == [7, 4]
    finally:
        PREFETCH._factories.pop("last-two", None)


def test_every_prohibition_of_the_layers_page_is_checked() -> None:
    """Each module that CONTRIBUTING lists as a layer is in the import contract."""
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    table = CONTRIBUTING.split("| layer | answers |")[1].split("\n\n")[0]
    modules = re.findall(r"`([a-z_.]+)`", "\n".join(line.split("|")[1] for line in table.splitlines()[2:]))
    assert len(modules) > 20
    assert [name for name in modules if f"simkv.{name}" not in setup] == []
