"""The page in a real browser: it asks for nothing, complains of nothing, and its controls do what they say."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from simkv import cli
from tests.browser import Browser, browser
from tests.unit.saved_folders import sweep_of

pytestmark = pytest.mark.slow

_SEEN = (  # of a group inside a figure checkVisibility knows nothing
    "return [...document.querySelectorAll(arguments[0])].filter((each) => each.checkVisibility() &&"
    " getComputedStyle(each).display !== 'none').length"
)
_HEADS = (
    "return [...document.querySelectorAll('.tl-arm')].filter((each) => each.checkVisibility())"
    ".map((each) => each.firstChild.data)"
)
_RANGE = "const {from, to} = document.querySelector('.tl').dataset; return to - from"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run with its timeline and a sweep, alone in folders of their own."""
    folder = tmp_path_factory.mktemp("pages")
    assert cli.main(["run", "scenarios/three_turns.yaml", "--out", str(folder / "run")]) == 0
    sweep_of(folder / "sweep", ("1 Mbit/s", "2 Mbit/s", "4 Mbit/s"), replications=2)
    found = {}
    for name in ("run", "sweep"):
        assert cli.main(["report", str(folder / name)]) == 0
        (folder / "alone" / name).mkdir(parents=True)
        found[name] = Path(shutil.copy(folder / name / "report.html", folder / "alone" / name))
    return found


@pytest.fixture
def window(tmp_path: Path) -> Iterator[Browser]:
    with browser(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("name", ["run", "sweep"])
def test_a_page_asks_for_nothing_and_complains_of_nothing(window: Browser, pages: dict[str, Path], name: str) -> None:
    """One request, for the page itself; an empty console; less than 3 MB."""
    window.open(pages[name])
    window.run("window.scrollTo(0, document.body.scrollHeight)")
    assert window.requested() == [pages[name].as_uri()]
    assert window.said() == []
    assert pages[name].stat().st_size < 3_000_000


@pytest.mark.parametrize("name", ["run", "sweep"])
@pytest.mark.parametrize("dark", [False, True])
def test_a_page_fits_a_phone(tmp_path: Path, pages: dict[str, Path], name: str, dark: bool) -> None:
    """360 pixels: nothing but tables scrolls sideways, no figure's letter is under 7 pixels, ink differs from paper."""
    with browser(tmp_path, (360, 740), dark=dark) as phone:
        phone.open(pages[name])
        assert phone.run("return document.documentElement.scrollWidth") == 360
        sizes = phone.run(
            "return [...document.querySelectorAll('svg.plot')].map((plot) => plot.getBoundingClientRect().width /"
            " plot.viewBox.baseVal.width * Math.min(...[...plot.querySelectorAll('text')].map((text) =>"
            " parseFloat(getComputedStyle(text).fontSize))))"
        )
        assert sizes
        assert min(sizes) > 5.5
        ink, paper = phone.run("const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]")
        levels = [sum(map(int, colour[4:-1].split(","))) for colour in (ink, paper)]
        assert (levels[0] > levels[1]) == dark
        assert abs(levels[0] - levels[1]) > 500


def test_the_filter_hides_a_policy_everywhere_and_brings_it_back(window: Browser, pages: dict[str, Path]) -> None:
    window.open(pages["run"])
    before = [window.run(_SEEN, f"[data-arm='{place}']") for place in (0, 1)]
    assert min(before) > 5
    window.click(".filter li:nth-child(1) label")
    assert window.run(_SEEN, "[data-arm='0']") == 0
    assert window.run(_SEEN, "[data-arm='1']") == before[1]
    assert window.run("return document.querySelectorAll('.tl').length") == 1
    window.click(".filter button")
    assert [window.run(_SEEN, f"[data-arm='{place}']") for place in (0, 1)] == before
    assert window.said() == []


def test_the_filter_hides_a_column_of_a_sweep(window: Browser, pages: dict[str, Path]) -> None:
    window.open(pages["sweep"])
    window.click(".filter li:nth-child(2) label")
    assert window.run(_SEEN, "[data-arm='1']") == 0
    assert window.run(_SEEN, "th[data-arm='0']") > 0


def test_the_filter_acts_on_the_timeline(window: Browser, pages: dict[str, Path]) -> None:
    window.open(pages["run"])
    assert window.run(_HEADS) == ["none", "sequential"]
    window.click(".filter li:nth-child(1) label")
    assert window.run(_HEADS) == ["sequential"]


def test_the_timeline_zooms(window: Browser, pages: dict[str, Path]) -> None:
    """By a button, and by the wheel once it has been clicked."""
    window.open(pages["run"])
    whole = window.run(_RANGE)
    assert whole > 0
    window.click(".tl canvas")
    window.wheel(".tl canvas", 240)
    near = window.run(_RANGE)
    assert 0 < near < whole
    assert window.said() == []


def test_a_page_reads_well_without_scripts(tmp_path: Path, pages: dict[str, Path]) -> None:
    """Nothing is hidden, and nothing is offered that would do nothing."""
    with browser(tmp_path, scripts=False) as window:
        window.open(pages["run"])
        tree = window.tools("DOMSnapshot.captureSnapshot", computedStyles=["display"])
        names = tree["strings"]
        shown = [names[i] for i in tree["documents"][0]["layout"]["text"] if i >= 0]
        assert any("sequential has the lowest mean time to first token" in text for text in shown)
        assert any("The timeline needs JavaScript." in text for text in shown)
        kinds = [
            names[tree["documents"][0]["nodes"]["nodeName"][i]] for i in tree["documents"][0]["layout"]["nodeIndex"]
        ]
        assert "INPUT" not in kinds
        assert kinds.count("TABLE") >= 6
