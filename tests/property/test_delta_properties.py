"""What must be sent, whatever a receiver holds: laws of the arithmetic, and the same laws on whole documents."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simkv.kv.delta import Stretch, ToSend, common_prefix_tokens, to_send
from simkv.kv.document import versions
from simkv.request import Edit, Session, Turn

STRETCHES = st.builds(Stretch, st.sampled_from("abcdef"), st.integers(1, 50))
CONTEXTS = st.lists(STRETCHES, max_size=6)
KNOWN = st.lists(CONTEXTS, max_size=3)
BLOCKS = st.sampled_from([1, 7, 16])


@given(KNOWN, CONTEXTS, BLOCKS, st.booleans())
def test_a_delta_is_at_most_prefix_caching_and_that_at_most_all(
    known: list[list[Stretch]], new: list[Stretch], block_tokens: int, independent: bool
) -> None:
    found = to_send(known, new, block_tokens, independent=independent)
    assert 0 <= found.delta_tokens <= found.prefix_caching_tokens <= found.naive_tokens
    assert found.naive_tokens == sum(stretch.tokens for stretch in new)
    if not independent:
        assert found.prefix_caching_tokens - found.delta_tokens < block_tokens  # never more than a partly filled block


@given(CONTEXTS, CONTEXTS, BLOCKS)
def test_full_overlap_costs_the_new_positions_alone(old: list[Stretch], more: list[Stretch], block_tokens: int) -> None:
    found = to_send([old], [*old, *more], block_tokens)
    assert found.delta_tokens == sum(stretch.tokens for stretch in more)
    assert to_send([old], old, block_tokens, independent=True).delta_tokens == 0


@given(KNOWN, CONTEXTS, BLOCKS, st.booleans())
def test_zero_overlap_costs_all(
    known: list[list[Stretch]], new: list[Stretch], block_tokens: int, independent: bool
) -> None:
    strangers = [[Stretch(content.upper(), tokens) for content, tokens in version] for version in known]
    for never in ([], strangers):
        found = to_send(never, new, block_tokens, independent=independent)
        assert found.delta_tokens == found.prefix_caching_tokens == found.naive_tokens


@given(st.lists(CONTEXTS, min_size=1, max_size=6), BLOCKS)
def test_what_grows_step_by_step_costs_each_position_once(steps: list[list[Stretch]], block_tokens: int) -> None:
    """Additivity: the deltas of a growing context sum to its length, and each sum is the sum of its terms."""
    known: list[list[Stretch]] = []
    total, naive, context = ToSend(), 0, list[Stretch]()
    for step in steps:
        context = [*context, *step]
        total += to_send(known, context, block_tokens)
        naive += sum(stretch.tokens for stretch in context)
        known.append(context)
    assert total.delta_tokens == sum(stretch.tokens for stretch in context)
    assert total.naive_tokens == naive


@given(KNOWN, CONTEXTS, CONTEXTS, BLOCKS, st.booleans())
def test_a_further_version_never_makes_it_dearer(
    known: list[list[Stretch]], another: list[Stretch], new: list[Stretch], block_tokens: int, independent: bool
) -> None:
    fewer = to_send(known, new, block_tokens, independent=independent)
    more = to_send([*known, another], new, block_tokens, independent=independent)
    assert more.delta_tokens <= fewer.delta_tokens
    assert more.prefix_caching_tokens <= fewer.prefix_caching_tokens


@given(st.lists(STRETCHES, min_size=1, max_size=6, unique_by=lambda each: each.content), BLOCKS, st.randoms())
def test_order_matters_to_exact_prefixes_alone(old: list[Stretch], block_tokens: int, random: object) -> None:
    new = list(old)
    random.shuffle(new)  # type: ignore[attr-defined]
    assert to_send([old], new, block_tokens, independent=True).prefix_caching_tokens == 0
    found = to_send([old], new, block_tokens)
    assert found.delta_tokens == found.naive_tokens - common_prefix_tokens(old, new)


@st.composite
def edited_sessions(draw: st.DrawFn) -> Session:
    """Return a session of a few chunks whose turns edit them anyhow."""
    now = draw(st.lists(st.integers(1, 40), min_size=1, max_size=4))
    session = Session("s", (), draw(st.sampled_from(["document_first", "independent"])), chunk_tokens=tuple(now))
    turns = []
    for _ in range(draw(st.integers(1, 5))):
        edits = []
        for chunk in draw(st.lists(st.integers(0, len(now) - 1), unique=True, max_size=2)):
            tokens = draw(st.integers(1, 40))
            edits.append(Edit(chunk, draw(st.integers(0, min(tokens, now[chunk]))), tokens))
            now[chunk] = tokens
        turns.append(Turn(1, 1, chunks=(0,), edits=tuple(edits)))
    return Session(session.session_id, tuple(turns), session.layout, chunk_tokens=session.chunk_tokens)


@given(edited_sessions())
def test_blocks_of_versions_are_what_the_arithmetic_says(session: Session) -> None:
    """Equal ids are equal content, new ids are new: new blocks are those behind the first difference, and no others.

    Every token is named by the edit that made it, and by all in front of it that its KV depends on.
    """
    block_tokens, chained = 16, session.layout != "independent"
    found = versions(session, 1000, block_tokens)
    texts = [[f"{chunk}/{place}" for place in range(tokens)] for chunk, tokens in enumerate(session.chunk_tokens)]
    content: dict[int, tuple[str, ...]] = {}
    for number, (turn, version) in enumerate(zip([None, *session.turns], found, strict=True)):
        for edit in turn.edits if turn else ():
            fresh = [f"{number}.{edit.chunk}/{place}" for place in range(edit.kept_tokens, edit.tokens)]
            texts[edit.chunk] = texts[edit.chunk][: edit.kept_tokens] + fresh
        before: tuple[str, ...] = ()
        for text, pieces in zip(texts, version.chunks, strict=True):
            assert sum(piece.tokens for piece in pieces) == len(text)
            at = 0
            for piece in pieces:
                for block in range(piece.run.start, piece.run.end):
                    end = min(at + block_tokens, len(text))
                    whole = (*(before if chained else ()), *text[:end])
                    assert content.setdefault(block, whole) == whole
                    if piece.base is not None and block == piece.run.start:
                        kept = at + piece.base.tokens + (len(before) if chained else 0)
                        assert content[piece.base.block][:kept] == whole[:kept]
                    at = end
            before += tuple(text)
        assert max(content) < version.end


@given(edited_sessions())
def test_full_blocks_in_front_of_an_edit_are_never_new(session: Session) -> None:
    found = versions(session, 0, 16)
    for turn, old, new in zip(session.turns, found, found[1:], strict=False):
        if not turn.edits:
            assert new is old
            continue
        first = min(edit.chunk for edit in turn.edits)
        for edit in turn.edits:
            if session.layout == "independent" or edit.chunk == first:
                ids = [_blocks(version.chunks[edit.chunk]) for version in (old, new)]
                whole = edit.kept_tokens // 16
                assert ids[0][:whole] == ids[1][:whole]
                assert not set(ids[0]) & set(ids[1][whole:])


def _blocks(pieces: tuple[object, ...]) -> list[int]:
    return [block for piece in pieces for block in range(piece.run.start, piece.run.end)]  # type: ignore[attr-defined]
