"""The page of a folder: complete, alone, inert, the same every time, and sensible where there is little to say."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure

from simkv import cli
from simkv.errors import InputError
from simkv.report import runs
from simkv.report.comparison import ArmInfo, Comparison
from simkv.report.page import page
from simkv.report.reading import read_sweep
from simkv.report.svg import inline
from tests.unit.saved_folders import save_run, save_sweep, sweep_of
from tests.unit.synthetic_runs import ARMS, comparison, request, run_of, scenario

EVIL = "</title><script>alert('x')</script><img src=x onerror=alert(1)>$\\frac{a}{b}$&\"'"


class Read(HTMLParser):
    """A page as a browser meets it: elements, ids, references, texts; a tag that closes nothing is an error."""

    VOID = frozenset({"meta", "link", "input", "br", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_a_saved_folder_gives_its_comparison_back(tmp_path: Path) -> None:
    """Every number of the table and of the summary, from files alone."""
    found = comparison(replications=3)
    again = runs.comparison(save_run(found, tmp_path))
    assert again.to_json() == json.loads((tmp_path / "summary.json").read_text()) == found.to_json()
    assert str(again) == str(found)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda text: None, "holds no runs.jsonl: an older simkv wrote it"),
        (lambda text: "", "is no list of runs"),
        (lambda text: text.replace("simkv.runs", "other"), "is no list of runs"),
        (lambda text: text[: text.rindex('{"arm"')], "want one line for each of 2 runs"),
        (lambda text: text + "{", "is not JSON"),
        (lambda text: text + "[]\n", "want an object"),
        (lambda text: text.replace('"end_s"', '"begin_s"'), "is not a list of runs as simkv writes it"),
    ],
)
def test_a_damaged_list_of_runs_is_refused_in_one_line(tmp_path: Path, damage: Any, problem: str) -> None:
    saved = save_run(comparison(["none", "threshold"], replications=1), tmp_path)
    path = tmp_path / runs.NAME
    text = damage(path.read_text())
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=re.escape(problem)):
        runs.comparison(saved)


def few_runs(name: str) -> Comparison:
    """Return comparisons with little in them."""
    one = (ArmInfo("none"),)
    lost = [request(0, 0, None), request(0, 1, None, status="rejected")]
    return {
        "one arm": lambda: comparison(["none"]),
        "one replication": lambda: comparison(replications=1),
        "nothing finished": lambda: Comparison(scenario(["none"]), one, [run_of(lost)], 7, 1),
        "no request": lambda: Comparison(scenario(["none"]), one, [run_of([])], 7, 1),
        "one request": lambda: Comparison(scenario(["none"]), one, [run_of([request(0, 0)])], 7, 1),
        "references alone": lambda: comparison(["oracle", "perfect-residency"]),
        "all": lambda: comparison(replications=20),
    }[name]()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("one arm", "none is the only arm"),
        ("one replication", "One replication: no interval can be given"),
        ("nothing finished", "No request finished in any arm"),
        ("no request", "No request finished in any arm"),
        ("one request", "there is nothing to compare it with"),
        ("references alone", "No arm that a real system could be finished a request"),
        ("all", "Of 5 arms that a real system could be, threshold has the lowest mean time to first token"),
    ],
)
def test_every_run_has_a_sensible_page(tmp_path: Path, name: str, said: str) -> None:
    text = page(save_run(few_runs(name), tmp_path))
    read = Read(text)
    assert said in "".join(read.texts)
    assert not re.search(r"\b(nan|inf|None)\b", "".join(read.texts))
    assert_alone(text, read)


@pytest.mark.parametrize(
    ("points", "failed", "said"),
    [
        ({"1 Mbit/s": "all"}, {}, "at 1 point: threshold at 1."),
        ({"1 Mbit/s": "one arm", "2 Mbit/s": "one arm"}, {}, "One arm, none: mean time to first token"),
        ({"1 Mbit/s": "one replication", "2 Mbit/s": "one replication"}, {}, "One replication: no interval"),
        ({"1 Mbit/s": "nothing finished", "2 Mbit/s": "nothing finished"}, {}, "No request finished at any point."),
        ({}, {"1 Mbit/s": "no room"}, "No point finished."),
        ({"1 Mbit/s": "all", "2 Mbit/s": "nothing finished"}, {"3 Mbit/s": "no room"}, "1 point failed"),
    ],
)
def test_every_sweep_has_a_sensible_page(
    tmp_path: Path, points: dict[str, str], failed: dict[str, str], said: str
) -> None:
    saved = save_sweep(tmp_path / "s", {value: few_runs(name) for value, name in points.items()}, failed)
    text = page(saved)
    read = Read(text)
    assert said in "".join(read.texts)
    assert all(error in "".join(read.texts) for error in failed.values())
    assert not re.search(r"\b(nan|inf|None)\b", "".join(read.texts))
    assert_alone(text, read)


def test_a_search_has_one_front_and_no_grid_to_run_again(tmp_path: Path) -> None:
    """A link's capacity is chosen by a search; the values that it tried are no grid, whose hash would be another."""
    save_sweep(tmp_path / "s", {"1 Mbit/s": few_runs("all"), "2 Mbit/s": few_runs("all")})
    journal = tmp_path / "s/journal.jsonl"
    swept = "".join(Read(page(read_sweep(tmp_path / "s"))).texts)
    journal.write_text(json.dumps({**json.loads(journal.read_text()), "minimise": ["ttft_s.p99", "link_bytes"]}))
    searched = "".join(Read(page(read_sweep(tmp_path / "s"))).texts)
    assert "A search for the least ttft_s.p99 and link_bytes" in searched
    for told in ("One front for each value", "simkv sweep resolved.yaml -p"):
        assert (told in swept, told in searched) == (True, False)


@pytest.mark.parametrize(("name", "column"), [("points", "arm"), ("failures", "error")])
def test_a_table_that_lost_a_column_is_refused(tmp_path: Path, name: str, column: str) -> None:
    sweep_of(tmp_path / "s", ("1 Mbit/s",), replications=1)
    path = tmp_path / f"s/{name}.parquet"
    pd.read_parquet(path).drop(columns=column).to_parquet(path)
    with pytest.raises(InputError, match=f"{name}.parquet: has no column {column}; it was not written by simkv"):
        page(read_sweep(tmp_path / "s"))


def test_a_sweep_without_any_point_has_a_page(tmp_path: Path) -> None:
    assert "No point finished." in "".join(Read(page(save_sweep(tmp_path / "s", {}))).texts)


def assert_alone(text: str, read: Read) -> None:
    """Nothing is fetched, ids are unique, what is referred to is there, and figures are told in words."""
    assert [tag for tag, attributes in read.elements if "src" in attributes or tag in ("iframe", "object")] == []
    links = [value for _, each in read.elements for name, value in each.items() if name in ("href", "xlink:href")]
    assert [link for link in links if not link.startswith(("#", "data:,"))] == []
    assert re.findall(r"@import|url\((?!#)", text) == []
    assert set(re.findall(r"https?://[^\"' ]+", text)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in links if link.startswith("#")} | set(re.findall(r"url\(#([^)]+)\)", text)) <= set(ids)
    silent = [each for each in read.all("svg") if "aria-hidden" not in each and not each.get("aria-label")]
    assert silent == []
    assert len(text) < 3_000_000


@pytest.mark.parametrize("kind", ["run", "sweep"])
def test_equal_folders_give_equal_bytes_wherever_they_lie(tmp_path: Path, kind: str) -> None:
    saved = (
        save_run(comparison(), tmp_path / "a")
        if kind == "run"
        else sweep_of(tmp_path / "a", ("1 Mbit/s", "2 Mbit/s"), replications=2)
    )
    shutil.copytree(tmp_path / "a", tmp_path / "b" / "other")
    assert page(saved) == page(type(saved)(tmp_path / "b" / "other", *vars_of(saved)))


def vars_of(saved: Any) -> list[Any]:
    return [value for name, value in vars(saved).items() if name in ("manifest", "summary", "header")]


def evil_comparison() -> Comparison:
    """Return one in which every name and note is made to break out of its place."""
    found = comparison(["none", "threshold"], replications=2)
    arms = tuple(
        ArmInfo(f"{arm.name}{EVIL}", arm.prefetch, reference=EVIL if arm.prefetch != "none" else "")
        for arm in found.arms
    )
    for run in found.results:
        run.arm += EVIL
        run.notes |= {EVIL: EVIL}
    return Comparison(scenario(["none"], name=EVIL), arms, found.results, 7, 2)


def test_names_and_notes_are_inert(tmp_path: Path) -> None:
    """A scenario called <script> is called so, and does nothing; dollars are no formula."""
    text = page(save_run(evil_comparison(), tmp_path))
    read = Read(text)
    assert len(read.all("script")) == 1
    assert [each for _, each in read.elements if any(name.startswith("on") for name in each)] == []
    assert EVIL in "".join(read.texts)
    assert text.count("$\\frac") > 3
    assert_alone(text, read)


def test_what_went_wrong_at_a_point_is_inert(tmp_path: Path) -> None:
    saved = save_sweep(tmp_path / "s", {EVIL: evil_comparison()}, {f"{EVIL}2": EVIL}, path="a")
    saved.header["scenario"] = EVIL
    read = Read(page(saved))
    assert len(read.all("script")) == 1
    assert [each for _, each in read.elements if any(name.startswith("on") for name in each)] == []


def test_every_arm_is_in_the_filter_and_in_all_that_it_acts_on(tmp_path: Path) -> None:
    """Tables, curves, bars and legends: whatever belongs to an arm carries its number."""
    text = page(save_run(comparison(), tmp_path))
    read = Read(text)
    boxes = [each["value"] for each in read.all("input")]
    assert boxes == [str(place) for place in range(len(ARMS))]
    rows = [each["data-arm"] for each in read.all("tr") if "data-arm" in each]
    assert {place: rows.count(place) for place in boxes} == dict.fromkeys(boxes, 5)
    curves, front = (
        re.findall(r'<g data-arm="(\d)"', each) for each in re.findall(r"<svg xmlns.*?</svg>", text, re.DOTALL)
    )
    assert {place: curves.count(place) for place in boxes} == dict.fromkeys(boxes, 2)  # line and band
    assert set(front) == set(boxes)
    items = [each["data-arm"] for each in read.all("li") if "data-arm" in each]
    assert {place: items.count(place) for place in boxes} == dict.fromkeys(boxes, 4)  # two legends, two bars


def test_bars_are_as_long_as_what_they_show(tmp_path: Path) -> None:
    """The longest is the whole width, and each is its share of that."""
    found = comparison(replications=2)
    text = page(save_run(found, tmp_path))
    chart = text[text.index('<figure id="bytes"') : text.index('<figure id="gpu"')]
    totals = [sum(arm.link_bytes.values()) for arm in found.summary.arms]
    widths = []
    for row in re.findall(r'<svg class="bar".*?</svg>', chart, flags=re.DOTALL):
        groups = re.findall(r"<g>.*?</g>", row, flags=re.DOTALL)
        widths.append(sum(float(re.search(r'width="([\d.]+)%"', each)[1]) for each in groups))  # type: ignore[index]
    assert widths == pytest.approx([100 * total / max(totals) for total in totals], abs=0.01)


def test_what_no_link_carried_is_not_drawn(tmp_path: Path) -> None:
    """Replicas without links have no bytes to show; their waits are shown all the same."""
    text = page(save_run(few_runs("one request"), tmp_path))
    assert [name for name in ("cdf", "pareto", "bytes", "gpu") if f'<figure id="{name}"' in text] == ["cdf"]


def test_what_was_lost_is_said_first(tmp_path: Path) -> None:
    rows = [request(0, 0, 1.0), request(0, 1, None), request(1, 0, None, status="rejected")]
    found = Comparison(scenario(["none"]), (ArmInfo("none"),), [run_of(rows, extrapolated_time_ratio=0.125)], 7, 1)
    text = page(save_run(found, tmp_path))
    said = text[text.index("Read with care") : text.index('<fieldset class="filter"')]
    assert "Requests rejected, which no mean includes: none 1 of 3." in said
    assert "Requests unfinished, which no mean includes: none 1 of 3." in said
    assert "outside the measured range of its profile: none 12.5%" in said


def test_a_figure_in_a_page_keeps_to_itself() -> None:
    """Two figures of one page share no id; nothing of them styles the page; paper and ink are the page's."""
    made = []
    for name in ("one", "two"):
        figure = Figure(figsize=(2, 2))
        axes = figure.add_subplot()
        axes.plot([0, 1], [1, 2], gid="arm-3", color="#0072B2")
        axes.set_title("a < b $x$", parse_math=False)
        made.append(inline(figure, name, 'said "so"'))
    reads = [Read(text) for text in made]
    one, two = ({each["id"] for _, each in read.elements if "id" in each} for read in reads)
    assert one
    assert not one & two
    assert not reads[0].all("style")
    assert [each["data-arm"] for each in reads[0].all("g") if "data-arm" in each] == ["3"]
    assert "#000000" not in made[0]
    assert "var(--ink)" in made[0]
    assert reads[0].all("svg")[0]["aria-label"] == 'said "so"'
    assert "a < b $x$" in "".join(reads[0].texts)


def test_the_command_writes_the_page_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_run(comparison(["none"], replications=1), tmp_path / "run")
    assert cli.main(["report", str(tmp_path / "run"), "--no-timeline"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'run' / 'report.html'}\n"
    assert cli.main(["report", str(tmp_path / "run"), "--no-timeline", "--out", str(tmp_path / "new" / "a.html")]) == 0
    assert (tmp_path / "new" / "a.html").read_bytes() == (tmp_path / "run" / "report.html").read_bytes()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--out", "{}"], "is a folder; want a file for the page"),
        (
            ["--arm", "none"],
            "a page does not go by --arm; of such options it takes --replication, --sessions, --window",
        ),
        (["--no-timeline", "--sessions", "3"], "a page without a timeline does not go by --sessions"),
        (["--no-timeline", "--replication", "0"], "a page without a timeline does not go by --replication"),
        (["--export", "latex", "--arm", "none"], "--export latex does not go by --arm; of such options it takes none"),
        (["--export", "vllm", "--window", "1 s..2 s"], "--export vllm does not go by --window"),
        (["--no-timeline", "--export", "latex"], "--no-timeline is of the page"),
        (["--export", "latx"], "unknown target 'latx'; did you mean 'latex'?"),
    ],
)
def test_what_the_command_cannot_do_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], problem: str
) -> None:
    save_run(comparison(["none"], replications=1), tmp_path)
    assert cli.main(["report", str(tmp_path), *(word.format(tmp_path) for word in words)]) == 2
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()
