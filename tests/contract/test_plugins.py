"""Every registered plug-in keeps its contract, and the contract notices plug-ins that do not."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from simkv import testing
from simkv.errors import InputError
from simkv.kv.block import Run
from simkv.policies import ACQUISITION, BATCHING, ESTIMATORS, EVICTION, PREFETCH, ROUTING
from simkv.policies.acquisition import AcquisitionView, Plan
from simkv.policies.batching import SequenceView
from simkv.policies.prefetch import Prefetch, PrefetchView
from simkv.predictors import PREDICTORS, History, Item, Outcome
from simkv.predictors.timing import TIMING
from simkv.registry import Registry

REGISTRIES: dict[str, Registry[Any]] = {
    "acquisition": ACQUISITION,
    "batching": BATCHING,
    "estimator": ESTIMATORS,
    "eviction": EVICTION,
    "predictor": PREDICTORS,
    "prefetch": PREFETCH,
    "routing": ROUTING,
    "timing": TIMING,
}

#: Parameters that are harder than the defaults.
HARDER: dict[tuple[str, str], list[dict[str, object]]] = {
    ("estimator", "harmonic-mean"): [{"window": 1}],
    ("estimator", "sliding-quantile"): [{"window": 1}, {"quantile": 0.0}, {"quantile": 1.0}],
    ("estimator", "stale-report"): [{"period_s": 0.3, "delay_s": 0.0}, {"period_s": 7.0, "delay_s": 3.0}],
    ("predictor", "markov"): [{"order": 0}, {"order": 3}],
    ("predictor", "task-graph"): [{"back_off": 0.0}],
    ("predictor", "topic"): [{"decay": 0.0, "rate": 0.0}],
    ("prefetch", "threshold"): [{"threshold": 0.0}, {"threshold": 0.2, "kind": "text"}],
    ("prefetch", "sequential"): [{"ahead": 4}],
    ("prefetch", "oracle"): [{"ahead": 4, "kind": "text"}],
    ("prefetch", "always-k"): [{"k": 3, "kind": "compute"}],
    ("prefetch", "price-aware"): [{"price_s_per_byte": 1e-6, "link": "shared"}, {"price_s_per_byte": 0.0}],
    ("prefetch", "adaptive"): [{"price_s_per_byte": 1e-6, "displaced": 0.2, "kind": "compute"}],
    ("routing", "least-loaded"): [{"by": "tokens"}],
    ("routing", "prefix-aware"): [{"overlap_weight": 0.0}, {"overlap_weight": 50.0, "seed": 3}],
    ("prefetch", "just-in-time"): [{"threshold": 0.0, "margin_s": 0.0, "kind": "text"}],
}

CASES = [
    (kind, name, params)
    for kind, registry in REGISTRIES.items()
    for name in registry
    for params in [None, *HARDER.get((kind, name), [])]
]


@pytest.mark.parametrize(("kind", "name", "params"), CASES)
def test_contract(kind: str, name: str, params: Mapping[str, object] | None) -> None:
    """All that is promised of its kind."""
    testing.check_policy(kind, name, params)


def test_each_kind_has_a_check_of_its_own() -> None:
    """`check_eviction` is `check_policy("eviction", ...)`, and so on for every kind."""
    for kind, registry in REGISTRIES.items():
        getattr(testing, f"check_{kind}")(next(iter(registry)))


def test_answers_can_be_compared() -> None:
    """Equal policies answer alike, different ones do not."""
    assert testing.answers("eviction", "lru") == testing.answers("eviction", "lru")
    assert testing.answers("eviction", "lru") != testing.answers("eviction", "fifo")


def test_unknown_kind() -> None:
    """A misspelt kind is told from a broken promise."""
    with pytest.raises(InputError, match="did you mean 'eviction'"):
        testing.check_policy("evicton", "lru")


# -- plug-ins that break one promise each ----------------------------------------------------------


class Books:
    """A working first in, first out, slow and simple, to be broken in one way."""

    def __init__(self) -> None:
        self.blocks: dict[int, None] = {}

    def inserted(self, run: Run, now_s: float) -> None:
        """Note each block."""
        self.blocks |= dict.fromkeys(range(run.end - 1, run.start - 1, -1))

    def used(self, run: Run, now_s: float) -> None:
        """Ignore it."""

    def removed(self, run: Run) -> None:
        """Forget each block."""
        for block in range(run.start, run.end):
            self.blocks.pop(block, None)

    def victim(self, need_bytes: int) -> Run | None:
        """Return the first block."""
        return Run(next(iter(self.blocks)), 1) if self.blocks else None


def eviction(**broken: Callable[..., object]) -> type:
    """Return `Books` with some hooks replaced."""

    @dataclass
    class Plugin:
        """Evict something.

        Source: none.
        """

        _books: Books = field(default_factory=Books, init=False, repr=False)

        def __getattr__(self, hook: str) -> Any:
            if hook in broken:
                return lambda *args: broken[hook](self._books, *args)
            return getattr(self._books, hook)

    return Plugin


def predictor(predict: Callable[[History], object], observe: Callable[[Outcome], None] | None = None) -> type:
    """Return a predictor that answers with a function."""

    @dataclass
    class Plugin:
        """Predict something.

        Source: none.
        """

        def predict(self, view: History) -> object:
            """Return what the function says."""
            return predict(view)

        def observe(self, outcome: Outcome) -> None:
            """Tell the other function."""
            if observe is not None:
                observe(outcome)

    return Plugin


def answering(method: str, answer: Callable[..., object]) -> type:
    """Return a plug-in whose one method is a function."""

    @dataclass
    class Plugin:
        """Answer something.

        Source: none.
        """

        def __getattr__(self, name: str) -> Any:
            if name == method:
                return answer
            raise AttributeError(name)

    return Plugin


def prefetch(decide: Callable[[PrefetchView], object]) -> type:
    """Return a prefetch policy that answers with a function."""
    return answering("decide", decide)


def estimator(estimate: Callable[..., object], hears: bool = False) -> type:
    """Return an estimator that answers with a function of all measured rates, the time, and the report."""

    @dataclass
    class Plugin:
        """Expect something.

        Source: none.
        """

        hears_reports: ClassVar[bool] = hears
        _rates: list[float] = field(default_factory=list, init=False, repr=False)

        def measured(self, rate_bps: float, duration_s: float, now_s: float) -> None:
            """Keep it for ever."""
            self._rates.append(rate_bps)

        def estimate_bps(self, now_s: float, report: Callable[[float], float] | None) -> object:
            """Return what the function says."""
            return estimate(self._rates, now_s, report)

    return Plugin


def batching(rank: Callable[[SequenceView], object]) -> type:
    """Return a batching policy that answers with a function."""
    return answering("rank", rank)


def scanning(books: Books, need_bytes: int) -> Run | None:
    """Return the highest block, found by looking at all."""
    return Run(max(books.blocks, key=lambda block: block), 1) if books.blocks else None


counter = itertools.count()
shared: dict[Item, float] = {}


def forgetful(books: Books, run: Run, now_s: float) -> None:
    """Note the first block alone."""
    books.blocks[run.start] = None


def probabilities(*pairs: tuple[Item, float]) -> Callable[[History], dict[Item, float]]:
    """Predict the same always, where there are chunks."""
    return lambda view: dict(pairs) if view.chunks else {}


def teach(outcome: Outcome) -> None:
    """Change an answer given before."""
    shared[0] = shared.get(0, 0.0) + 0.001


def forget(view: History) -> dict[Item, float]:
    """Change what it is shown."""
    view.asked.clear()  # type: ignore[attr-defined]
    return {}


BROKEN: dict[str, tuple[str, type, str]] = {
    "victim was removed": ("eviction", eviction(removed=lambda books, run: None), "were never inserted, or removed"),
    "not all is offered": ("eviction", eviction(inserted=forgetful), "offers no victim although"),
    "victim at random": (
        "eviction",
        eviction(victim=lambda books, need: Run(random.choice([*books.blocks]), 1) if books.blocks else None),
        "offers another victim",
    ),
    "empty victim": ("eviction", eviction(victim=lambda books, need: Run(0, 0)), "holds no block"),
    "scan": ("eviction", eviction(victim=scanning), r"calls take \d+ times longer"),
    "above 1": ("predictor", predictor(probabilities((0, 1.5))), "gives 0 the probability 1.5"),
    "not a number": ("predictor", predictor(probabilities((0, float("nan")))), "gives 0 the probability nan"),
    "sum above 1": ("predictor", predictor(probabilities((0, 0.6), (1, 0.6))), "sum to 1.2"),
    "no such chunk": ("predictor", predictor(probabilities((99, 0.5))), "predicts 99, which is no item"),
    "future": ("predictor", predictor(lambda view: dict.fromkeys(view.next_items(), 1.0)), "it raises TypeError"),  # type: ignore[misc]
    "impure": ("predictor", predictor(lambda view: {0: next(counter) / 1e6}), "predicts something else"),
    "retroactive": ("predictor", predictor(lambda view: shared, teach), "changes a given answer"),
    "meddling": ("predictor", predictor(forget), "changes the history"),
    "thin air": ("estimator", estimator(lambda rates, now_s, report: 1e6), "before any transfer has ended"),
    "twice the rate": (
        "estimator",
        estimator(lambda rates, now_s, report: 2 * rates[-1] if rates else None),
        "outside all that was measured",
    ),
    "never knows": ("estimator", estimator(lambda rates, now_s, report: None), "although a transfer has ended"),
    "first for ever": (
        "estimator",
        estimator(lambda rates, now_s, report: rates[0] if rates else None),
        r"it keeps \d+ bytes after",
    ),
    "future report": (
        "estimator",
        estimator(lambda rates, now_s, report: report(now_s + 1), hears=True),
        "in the future",
    ),
    "whim": (
        "estimator",
        estimator(lambda rates, now_s, report: rates[next(counter) % len(rates)] if rates else None),
        "expects something else",
    ),
    "twice": (
        "prefetch",
        prefetch(lambda view: [Prefetch(item) for item in (*view.probabilities(), *view.probabilities())]),
        "moves .* twice",
    ),
    "bare item": ("prefetch", prefetch(lambda view: [*view.probabilities()]), "want Prefetch"),
    "no list": ("prefetch", prefetch(lambda view: None), "want a list"),
    "unknown item": ("prefetch", prefetch(lambda view: [Prefetch(99)]), "moves 99, which is no item"),
    "unknown kind": (
        "prefetch",
        prefetch(lambda view: [Prefetch(item, "both") for item in view.asked]),  # type: ignore[arg-type]
        "moves 'both'",
    ),
    "no rank": ("batching", batching(lambda view: None), "it ranks a sequence None, want a number"),
    "no order": ("batching", batching(lambda view: float("nan")), "it ranks a sequence nan, want a number"),
    "second thoughts": ("batching", batching(lambda view: float(next(counter))), "asked again, it gives another rank"),
    "answer length": (
        "batching",
        batching(lambda view: float(view.output_left_tokens)),  # type: ignore[attr-defined]
        "it raises AttributeError",
    ),
    "name": ("routing", answering("choose", lambda request, servers: servers[0].name), "want an index"),
    "out of range": ("routing", answering("choose", lambda request, servers: len(servers)), "want an index"),
    "class state": ("routing", answering("choose", lambda request, servers: next(counter) // 7 % len(servers)), "anew"),
    "global draws": (
        "routing",
        answering("choose", lambda request, servers: random.randrange(len(servers))),
        "global random generator",
    ),
    "assumes": ("acquisition", answering("decide", lambda view: Plan.ASSUME), "only oracles may"),
    "no plan": ("acquisition", answering("decide", lambda view: "fetch"), "want a Plan"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_promise_is_noticed(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the plug-in and says what was found."""
    kind, plugin, message = BROKEN[broken]
    monkeypatch.setitem(REGISTRIES[kind]._factories, "broken", plugin)
    with pytest.raises(AssertionError, match=f"{REGISTRIES[kind].kind} 'broken': .*{message}"):
        testing.check_policy(kind, "broken")


def test_the_simple_policy_that_the_broken_ones_are_made_of_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a broken one might fail for another reason."""
    monkeypatch.setitem(EVICTION._factories, "simple", eviction())
    testing.check_policy("eviction", "simple")
    monkeypatch.setitem(PREDICTORS._factories, "simple", predictor(probabilities((0, 0.6), (1, 0.4))))
    testing.check_policy("predictor", "simple")


def test_a_threshold_that_is_not_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal is not above."""

    @dataclass
    class AtLeast:
        """Move what is as probable as the threshold.

        threshold : probability.

        Source: none.
        """

        threshold: float = 0.5

        def decide(self, view: PrefetchView) -> list[Prefetch]:
            """Return what is at or above it."""
            return [Prefetch(item) for item, p in view.probabilities().items() if p >= self.threshold]

    monkeypatch.setitem(PREFETCH._factories, "at-least", AtLeast)
    with pytest.raises(AssertionError, match=r"at threshold 0.5 it moves 1 items of probability 0.5; want 0"):
        testing.check_prefetch("at-least")


# -- form ------------------------------------------------------------------------------------------


def plan_of(self: object, view: AcquisitionView) -> Plan:
    """Return the plan of every acquisition policy below."""
    return Plan.FETCH


def acquisition(doc: str | None, name: str = "Plugin", **fields: Any) -> type:
    """Return an acquisition policy with this docstring and these fields (annotation, default)."""
    space: dict[str, Any] = {key: value[1] for key, value in fields.items() if len(value) > 1}
    space |= {"__annotations__": {key: value[0] for key, value in fields.items()}, "decide": plan_of, "__doc__": doc}
    return dataclass(type(name, (), space | {"__qualname__": f"<locals>.{name}"}))


FULL = "Fetch.\n\n    share : of it.\n\n    Source: none."

FORMS: dict[str, tuple[str, type, str]] = {
    "no source": ("form", acquisition("Fetch."), "cites no source"),
    "no docstring": ("form", acquisition(None), "has no docstring"),
    "undocumented field": ("form", acquisition("Fetch.\n\nSource: none.", share=(float, 1.0)), "no line 'share : ...'"),
    "bad name": ("My_Form", acquisition("Fetch.\n\nSource: none."), "lower case with dashes"),
    "no dataclass": ("form", type("Plain", (), {"__doc__": "Source: none."}), "no dataclass"),
    "no default": ("form", acquisition(FULL, share=(float,)), r"example_params\(\)"),
}


@pytest.mark.parametrize("form", FORMS)
def test_form(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be read off the class: name, dataclass, parameters, documentation, source."""
    name, plugin, message = FORMS[form]
    monkeypatch.setitem(ACQUISITION._factories, name, plugin)
    with pytest.raises(AssertionError, match=message):
        testing.check_acquisition(name)


def test_example_params_stand_in_for_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plug-in without default values says how it is made for the check."""
    plugin = acquisition(FULL, share=(float,))
    monkeypatch.setitem(ACQUISITION._factories, "with-example", plugin)
    monkeypatch.setattr(plugin, "example_params", staticmethod(lambda: {"share": 0.5}), raising=False)
    testing.check_acquisition("with-example")
    testing.check_acquisition("with-example", {"share": 0.25})


SALTED = '''
from dataclasses import dataclass
from simkv.policies.acquisition import AcquisitionView, Plan

@dataclass
class Salted:
    """Decide by the order of a set of words.

    Source: none.
    """

    def decide(self, view: AcquisitionView) -> Plan:
        """Return a plan that depends on PYTHONHASHSEED."""
        words = {f"word-{index}" for index in range(200)}
        return Plan.TEXT if hash(tuple(words)) >> int(view.now_s) & 1 else Plan.FETCH
'''


def test_answers_that_depend_on_the_hash_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plug-in of another package, by its dotted path, is asked again in another process."""
    (tmp_path / "salted_plugin.py").write_text(SALTED, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AssertionError, match="under another PYTHONHASHSEED"):
        testing.check_acquisition("salted_plugin.Salted")


def test_a_plugin_that_fails_in_a_fresh_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it needs must come with its import."""
    needs = "import sys\nif 'pytest' not in sys.modules: raise ImportError('there is no pytest here')\n"
    source = needs + SALTED.replace("hash(tuple(words))", "len(words)")
    (tmp_path / "needy_plugin.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AssertionError, match=r"(?s)in a process of its own it fails.*there is no pytest here"):
        testing.check_acquisition("needy_plugin.Salted")
