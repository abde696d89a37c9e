"""How many tokens is a text, and which texts begin alike? By a tokenizer, or by the rule of four characters a token."""

from __future__ import annotations

import array
from functools import lru_cache
from pathlib import Path
from typing import Any

from simkv.errors import InputError

#: English text has about 4 characters a token (semantics A1).
CHARACTERS_PER_TOKEN = 4
#: [bytes] a token of `TextTokens.content`: four characters of four bytes, or a number.
_RULE_BYTES, _ID_BYTES = 16, 4
_EXTRA = "text needs the package tokenizers where a tokenizer is given: pip install 'simkv[tokenizers]'"


class TextTokens:
    """Counts tokens of texts.

    Parameters
    ----------
    tokenizer : path of a `tokenizer.json`; None = a token is four characters, the last one may be shorter.

    Attributes
    ----------
    words : what is assumed, in words.
    token_bytes : [bytes] of a token in `content`.

    Examples
    --------
    >>> tokens = TextTokens(None)
    >>> tokens.count("Who wrote it?"), len(tokens.content("Who wro")), tokens.token_bytes
    (4, 32, 16)
    """

    def __init__(self, tokenizer: Path | None) -> None:
        self._tokenizer = _load(tokenizer.absolute()) if tokenizer else None
        self.token_bytes = _ID_BYTES if tokenizer else _RULE_BYTES
        self.words = (
            f"tokens counted by {tokenizer.name}" if tokenizer else f"{CHARACTERS_PER_TOKEN} characters a token"
        )

    def count(self, text: str) -> int:
        """Return the tokens of a text; 0 for none."""
        if self._tokenizer is None:
            return -(-len(text) // CHARACTERS_PER_TOKEN)
        return len(self._ids(text))

    def content(self, text: str) -> bytes:
        """Return a text as bytes, so many a token, of which equal ones mean equal tokens."""
        if self._tokenizer is None:
            raw = text.encode("utf-32-le", "surrogatepass")
            return raw.ljust(self.count(text) * _RULE_BYTES, b"\0")
        return array.array("I", self._ids(text)).tobytes()

    def _ids(self, text: str) -> list[int]:
        clean = text.encode(errors="replace").decode()  # lone surrogates are no text to a tokenizer
        return list(self._tokenizer.encode(clean, add_special_tokens=False).ids)  # type: ignore[union-attr]


@lru_cache(maxsize=2)
def _load(path: Path) -> Any:
    try:
        from tokenizers import Tokenizer  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - an extra
    except ImportError:
        raise InputError(_EXTRA) from None
    try:
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot be read: {(error.strerror or str(error)).lower()}", str(path)) from None
    except Exception as error:
        raise InputError(f"not a tokenizer.json: {str(error).splitlines()[0]}", str(path)) from None
