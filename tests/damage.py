"""What happens to bytes on the way: flipped, cut, repeated, replaced by such as mean something."""

from __future__ import annotations

import random

#: What means something to a reader of JSON, of tables or of UTF-8.
BYTES = (
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b",",
    b":",
    b"-",
    b"\n",
    b"\r",
    b"\x00",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
)


def with_bytes_changed(data: bytes, draw: random.Random) -> bytes:
    """Return data after one to three edits: a bit, a byte that means something, a cut, a repeat, noise."""
    out = bytearray(data)
    for _ in range(draw.randint(1, 3)):
        start = draw.randrange(len(out) + 1)
        end = min(len(out), start + draw.randint(0, 9))
        kind = draw.randrange(5)
        if kind == 0 and start < len(out):
            out[start] ^= 1 << draw.randrange(8)
        elif kind == 1:
            out[start:end] = draw.choice(BYTES)
        elif kind == 2:
            del out[start : end if draw.random() < 0.7 else None]
        elif kind == 3:
            out[start:start] = out[start:end] * draw.randint(1, 3)
        else:
            out[start:end] = draw.randbytes(end - start)
    return bytes(out)
