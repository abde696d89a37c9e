"""What are the records of a file, one at a time and with the line where each begins?

A file is one of four kinds, told by its first characters: JSON objects (one a line, or one that spans the file), a JSON
array of them, a table (CSV with a header), or a dialogue in plain text. What the records mean is the business of the
formats. Memory holds one record, not the file.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

from simkv.errors import InputError
from simkv.workload.readers.fields import BrokenJsonError, check_size, parse_object, shown_text, whole_object
from simkv.workload.readers.lines import MAX_LINE_BYTES, front, numbered_lines, pieces

#: A record and the line where it begins.
Record = tuple[int, dict[str, Any]]
#: Keys of the records of a plain dialogue; a line of dashes ends one, with the role END.
ROLE, TEXT = "role", "text"
END = "---"
_ROLES = re.compile(rb"(document|system|user|assistant):[ \t]*", re.IGNORECASE)
_BLANKS = b" \t\r\n" + codecs.BOM_UTF8
#: Longest object of an array, in characters; conversations of public sets have some 100,000.
MAX_OBJECT_CHARACTERS = 16 << 20
_SPACE = re.compile(r"[ \t\r\n]*")


class Records:
    """The records of a file, read once, front to back.

    Attributes
    ----------
    first : the first record; of a table without rows its columns, each empty.
    line : where the record handed over last begins.

    Raises
    ------
    InputError : the file is empty or damaged, or its first record is none.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "two.csv"
    >>> _ = path.write_text("t,tokens" + chr(10) + "0,5" + chr(10) + "1,7")
    >>> list(Records(path))
    [(2, {'t': '0', 'tokens': '5'}), (3, {'t': '1', 'tokens': '7'})]
    """

    def __init__(self, path: Path) -> None:
        self.line = 1
        self._path = path
        start = front(path)
        if not start:
            raise InputError("the file is empty", str(path))
        self._columns: list[str] = []
        self._records = self._reading(start.lstrip(_BLANKS))
        self._begun = self._next()
        self.first = self._begun[1] if self._begun else dict.fromkeys(self._columns, "")

    def __iter__(self) -> Iterator[Record]:
        """Yield each record with its line; the errors of a record name its line."""
        record, self._begun = self._begun, None
        while record is not None:
            self.line = record[0]
            yield record
            record = self._next()

    def _next(self) -> Record | None:
        try:
            return next(self._records, None)
        except ValueError as error:
            raise InputError(str(error), f"{self._path}:{self.line}") from error

    def close(self) -> None:
        """Close the file."""
        self._records.close()

    def _reading(self, start: bytes) -> Generator[Record, None, None]:
        if start.startswith(b"["):
            return self._array()
        if start.startswith(b"{") or not start:
            return self._objects()
        if _ROLES.match(start):
            return self._dialogue()
        if b"," in start and (start[:1].isalnum() or start[:1] in b"\"'"):
            return self._table()
        return self._objects()

    def _objects(self) -> Generator[Record, None, None]:
        """Yield one object a line, or, where the first line alone is none, the one that the whole file is."""
        with closing(numbered_lines(self._path)) as lines:
            for self.line, line in lines:
                text = line.removeprefix(codecs.BOM_UTF8) if self.line == 1 else line
                if self.line == 1 and _begins_an_object(text):
                    yield 1, self._document(text, lines)
                    return
                yield self.line, parse_object(text)

    def _document(self, begun: bytes, lines: Iterator[tuple[int, bytes]]) -> dict[str, Any]:
        whole, size = [begun], len(begun)
        for _, following in lines:
            whole.append(following)
            size += len(following)
            if size > MAX_LINE_BYTES:
                raise InputError(f"a document of more than {MAX_LINE_BYTES >> 20} MiB", str(self._path))
        try:
            return parse_object(b"\n".join(whole))
        except BrokenJsonError as error:
            self.line = error.line
            raise

    def _array(self) -> Generator[Record, None, None]:
        """Yield the objects of an array, wherever its line ends are."""
        text = _Text(self._path)
        with closing(text):
            text.skip("[")
            while self._ahead(text) != "]":
                yield text.line, text.object()
                if self._ahead(text) != "]":
                    text.skip(",")
            text.skip("]")
            if rest := self._ahead(text):
                raise ValueError(f"want nothing behind the array, got {shown_text(rest)}")

    def _ahead(self, text: _Text) -> str:
        """Return the next character of an array, and be at its line."""
        mark = text.peek()
        self.line = text.line
        return mark

    def _table(self) -> Generator[Record, None, None]:
        with closing(numbered_lines(self._path)) as lines:
            rows = csv.reader(self._decoded(lines), strict=True)
            try:
                self._columns = [name.strip() for name in next(rows)]
                if len(set(self._columns)) < len(self._columns):
                    raise ValueError(f"want each column once, got {shown_text(','.join(self._columns))}")
                for cells in rows:
                    if len(cells) != len(self._columns):
                        raise ValueError(f"want {len(self._columns)} columns, got {len(cells)}")
                    yield self.line, dict(zip(self._columns, cells, strict=True))
            except csv.Error as error:
                raise ValueError(f"not CSV: {error}") from None

    def _dialogue(self) -> Generator[Record, None, None]:
        """Yield what each role says, and an END behind each dialogue."""
        said: list[str] = []
        role, begun = "", 1
        with closing(numbered_lines(self._path)) as lines:
            for text in chain(self._decoded(lines), [END]):
                found = _ROLES.match(text.encode(errors="replace"))
                if not found and text.rstrip() != END:
                    said.append(text)
                    continue
                if role:
                    yield begun, {ROLE: role, TEXT: "\n".join(said).strip()}
                elif any(line.strip() for line in said):
                    raise ValueError("text before anybody speaks; want 'document:', 'system:', 'user:' or 'assistant:'")
                said, begun, role = [], self.line, ""
                if not found:
                    yield begun, {ROLE: END, TEXT: ""}
                    continue
                role = found[1].decode().lower()
                said = [text[found.end() :]]

    def _decoded(self, lines: Iterator[tuple[int, bytes]]) -> Iterator[str]:
        """Yield lines as text; where the next begins is in `line`."""
        for self.line, line in lines:
            try:
                text = line.decode("utf-8-sig" if self.line == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(f"not UTF-8 at byte {error.start + 1} of the line") from None
            if "\x00" in text:
                raise ValueError("a NUL character; want text")
            yield text


class _Text:
    """The text of a file, as far as it was read and is not yet used."""

    def __init__(self, path: Path) -> None:
        self.line = 1
        self._pieces = pieces(path)
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._at = 0
        self._is_whole = False

    def close(self) -> None:
        """Close the file."""
        self._pieces.close()

    def peek(self) -> str:
        """Return the next character that is no space; "" at the end."""
        while True:
            end = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr] # it matches nothing, too
            self._use(end)
            if end < len(self._text) or not self._more():
                return self._text[end : end + 1]

    def skip(self, wanted: str) -> None:
        """Pass one character."""
        found = self.peek()
        if found != wanted:
            end = f"got {shown_text(found)}" if found else "the file ends (is it cut short?)"
            raise ValueError(f"want {wanted!r} of a JSON array, {end}")
        self._at += 1

    def object(self) -> dict[str, Any]:
        """Pass one JSON object and return it."""
        if (found := self.peek()) != "{":
            got = f"got {shown_text(found)}" if found else "the file ends (is it cut short?)"
            raise ValueError(f"want a JSON object in the array, {got}")
        while True:
            check_size(self._text)
            try:
                record, end = whole_object(self._text, self._at)
            except BrokenJsonError as error:
                if error.may_go_on and self._more(double=True):
                    continue
                hint = " (is the file cut short?)" if error.is_cut else ""
                raise ValueError(f"{str(error).partition(' at column')[0]}{hint}") from None
            self._use(end)
            return record

    def _use(self, end: int) -> None:
        self.line += self._text.count("\n", self._at, end)
        self._at = end

    def _more(self, double: bool = False) -> bool:
        """Read on, at least as much as is at hand where an object needs it; return whether there was more."""
        left = self._text[self._at :]
        if len(left) > MAX_OBJECT_CHARACTERS:
            raise ValueError(f"an object of more than {MAX_OBJECT_CHARACTERS} characters")
        wanted = max(1, len(left)) if double else 1
        read, size = [left], 0
        while size < wanted and not self._is_whole:
            piece = next(self._pieces, b"")
            self._is_whole = not piece
            try:
                read.append(self._decoder.decode(piece, final=not piece))
            except UnicodeDecodeError:
                raise ValueError("not UTF-8") from None
            size += len(read[-1])
        self._text, self._at = "".join(read), 0
        return size > 0


def _begins_an_object(line: bytes) -> bool:
    """Return whether a line is no object but might be the beginning of one."""
    text = line.strip()
    if not text.startswith(b"{") or (text.endswith(b"}") and len(text) > 1):
        return False
    try:
        parse_object(line)
    except BrokenJsonError as error:
        return error.is_cut
    except ValueError:
        pass
    return False
