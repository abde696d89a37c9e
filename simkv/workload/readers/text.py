"""Which words of a text carry its content, how many tokens is it, what are its chunks? English only."""

from __future__ import annotations

import re

#: OpenAI's rule of thumb: 100 tokens are about 75 English words.
TOKENS_PER_WORD = 100 / 75
#: Words that say nothing of what a text is about: articles, pronouns, prepositions, conjunctions, auxiliaries, question
#: words and a few adverbs; closed classes of English, listed from grammar and not from anybody's data.
_FUNCTION_WORDS = """
a an the this that these those i me my mine myself we us our ours ourselves you your yours yourself yourselves he
him his himself she her hers herself it its itself they them their theirs themselves one ones who whom whose which
what when where why how whether and or but nor so yet if then else than as because while although though until
unless since of in on at by for with about against between among into onto through during before after above below
to from up down out off over under upon within without toward towards via per am is are was were be been being do
does did doing done have has had having can could may might must shall should will would ought not no yes any some
all both each either neither every few many more most much other another such only own same too very also just even
still again once ever never there here now s t d ll m re ve don doesn didn isn aren wasn weren won wouldn couldn
please tell me
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
_WORD = re.compile(r"[^\W_]+")
_SPACED = re.compile(r"\S+")


def content_words(text: str) -> tuple[str, ...]:
    """Return the words of a text in their order, lower case, without function words.

    Examples
    --------
    >>> content_words("When did Zappa's band break up in 1969?")
    ('zappa', 'band', 'break', '1969')
    """
    return tuple(word for word in _WORD.findall(text.lower()) if word not in FUNCTION_WORDS)


def tokens_of(text: str) -> int:
    """Return about how many tokens a text has, at least 1.

    Examples
    --------
    >>> tokens_of("Who wrote it?")
    4
    """
    return max(1, round(len(text.split()) * TOKENS_PER_WORD))


def cut_in_chunks(text: str, chunks: int) -> tuple[str, ...]:
    """Return a text in equal parts of characters; a word belongs where it starts.

    Examples
    --------
    >>> cut_in_chunks("one two three", 2)
    ('one two', 'three')
    """
    parts: list[list[str]] = [[] for _ in range(chunks)]
    for word in _SPACED.finditer(text):
        parts[word.start() * chunks // len(text)].append(word.group())
    return tuple(" ".join(words) for words in parts)
