"""What probabilities were worth: heard while a replication is played again, compared with what the queries asked."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from simkv.compare import compare
from simkv.errors import InputError
from simkv.forecasts import Ear, _Heard, reliability
from simkv.kv.block import Run
from simkv.predictors.question import History, Outcome
from simkv.report.reading import read_run
from simkv.scenario import load
from simkv.scoring import Scorer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved run of ten turns, small: arms that go by probabilities, and others."""
    made = tmp_path_factory.mktemp("saved") / "run"
    told = load("scenarios/ten_turns.yaml", {"workload.sessions": 6, "replications": 2})
    compare(told, ["none", "sequential", "threshold", "adaptive"]).save(made)
    return made


class Fixed:
    """A predictor that always says the same."""

    def __init__(self, said: dict[object, float]) -> None:
        self.said = said
        self.learnt: list[Outcome] = []

    def predict(self, view: History) -> dict[object, float]:
        return self.said

    def observe(self, outcome: Outcome) -> None:
        self.learnt.append(outcome)


def view(chunks: int = 4) -> History:
    chain = Run(7, 3)
    return History(5, [0], [0], lambda move: chain if move == 1 else None, chunks)


def test_what_was_said_last_before_a_query_counts_once() -> None:
    """A forecast is compared with one query; a query of which nothing was said is no forecast that failed."""
    scorers: dict[int, Scorer] = {}
    heard = _Heard(Fixed({1: 0.75, 2: 0.25}), scorers)  # type: ignore[arg-type]
    heard.predict(view())
    heard.predict(view())
    heard.observe(Outcome(5, (), 1, item=1))
    heard.observe(Outcome(5, (), 1, item=2))
    assert scorers[5].queries == 1
    assert scorers[5].counts() == [(0.25, 1, 0), (0.75, 1, 1)]


def test_a_chain_that_goes_on_is_the_one_that_was_named() -> None:
    """Block runs grow with each query, so what counts is which chain the query went on with."""
    scorers: dict[int, Scorer] = {}
    heard = _Heard(Fixed({Run(7, 3): 0.75}), scorers)  # type: ignore[arg-type]
    for move in (1, 0):
        heard.predict(view(chunks=0))
        heard.observe(Outcome(5, (), move, item=Run(7, 9)))
    assert scorers[5].counts() == [(0.75, 2, 1)]


def test_listening_changes_nothing(folder: Path) -> None:
    """Played again with an ear on, the run gives the requests that were saved; else it would be refused."""
    found = reliability(read_run(folder), replication=1)
    assert [(each.arm, each.predictor) for each in found][:2] == [("threshold", "markov"), ("adaptive", "markov")]
    assert len(found) == 2  # the others ask nobody


def test_bins_hold_every_forecast_once(folder: Path) -> None:
    """Their counts and hits sum to those of all queries; an interval holds its frequency."""
    saved = read_run(folder)
    found = reliability(saved)[0]
    rows = saved.requests
    mine = rows[(rows["arm"] == "threshold") & (rows["replication"] == 0) & (rows["turn"] > 0)]
    assert found.queries == len(mine)
    hits = sum(each.count * (each.frequency.value or 0.0) for each in found.bins)
    assert hits == pytest.approx(round(hits))
    assert hits <= found.queries
    assert [each.forecast for each in found.bins] == sorted(each.forecast for each in found.bins)
    for each in found.bins:
        low, high = each.frequency.interval or [0.0, 1.0]
        assert 0.0 <= low <= (each.frequency.value or 0.0) <= high <= 1.0
    assert found.ece == pytest.approx(
        sum(each.count * abs(each.forecast - (each.frequency.value or 0.0)) for each in found.bins)
        / sum(each.count for each in found.bins)
    )


def test_a_forecast_that_is_always_right_is_on_the_line() -> None:
    """And one that is right half the time when it says so, too."""
    ear = Ear()
    for session in range(4):
        heard = _Heard(Fixed({1: 0.5, 2: 0.5}), ear.scorers)  # type: ignore[arg-type]
        for turn in range(10):
            heard.predict(History(session, [0], [0], lambda _: None, 4))
            heard.observe(Outcome(session, (), 1, item=1 + turn % 2))
    from simkv.forecasts import _reliability

    told = _reliability("arm", "fixed", list(ear.scorers.values()), seed=1)
    assert told.ece == 0.0
    assert [(each.count, each.forecast, each.frequency.value) for each in told.bins] == [(80, 0.5, 0.5)]


def test_what_cannot_be_played_again_is_refused(folder: Path, tmp_path: Path) -> None:
    """Another seed gives other requests."""
    made = tmp_path / "other"
    shutil.copytree(folder, made)
    manifest = (made / "manifest.json").read_text()
    (made / "manifest.json").write_text(manifest.replace('"seed": 23', '"seed": 24'))
    with pytest.raises(InputError, match="played again does not give the requests"):
        reliability(read_run(made))
    with pytest.raises(InputError, match="unknown replication 2; want 0 to 1"):
        reliability(read_run(folder), replication=2)
