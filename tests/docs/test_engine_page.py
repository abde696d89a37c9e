"""docs/engine.md is what its own code prints of the two recorded vLLM runs, and says what it may of them."""

from __future__ import annotations

import re

import pytest

from tests.conftest import DATA, ROOT
from tests.docs.pages import Executed, execute, rows

PAGE = (ROOT / "docs" / "engine.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.skipif(
    not (DATA / "vllm_runs").is_dir(), reason=f"no recorded vLLM runs at {DATA / 'vllm_runs'} (set SIMKV_DATA)"
)


@pytest.fixture(scope="module")
def done() -> list[Executed]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIMKV_DATA", str(DATA))
        return list(execute(PAGE, {}))


def test_the_page_is_what_it_prints(done: list[Executed]) -> None:
    assert [len(rows(each.printed)) for each in done] == [8, 2, 11]
    for each in done:
        assert rows(each.written) == rows(each.printed)


def test_the_words_above_the_tables_hold(done: list[Executed]) -> None:
    """Within 0.4 % and 2 % in the mean; 21 % with guessed blocks; 3.5 and 7 points by the link's latency."""
    compared, _, changed = (rows(each.printed) for each in done)
    for row in compared:
        if row["quantity"] != "scheduled to first token":
            assert abs(percent(row["mean"])) <= (0.4 if row["run"].startswith("RTX 4090") else 2)
    ttft = {row["changed"]: percent(row["TTFT"]) for row in changed if row["run"].startswith("2 x")}
    assert ttft["link latency 10 µs for 20"] - ttft["nothing"] == pytest.approx(-3.5, abs=0.1)
    assert ttft["link latency 40 µs for 20"] - ttft["nothing"] == pytest.approx(7.0, abs=0.1)
    guessed = next(row for row in changed if "guessed" in row["changed"])
    assert percent(guessed["TTFT"]) == pytest.approx(-21, abs=0.5)


def test_what_the_page_says_of_the_folder_is_what_is_read() -> None:
    from simkv.validate import vllm_run
    from simkv.workload.readers import replayed

    section = PAGE.split("## Your own run")[1].split("## ")[0]
    named = set(re.findall(r"`([a-z_]+)`", section))
    assert {*replayed.TIMES, *replayed.OPTIONAL, *vllm_run._SERIES, "input_tokens", "output_tokens"} <= named


def percent(text: str) -> float:
    return float(text.removesuffix(" %"))
