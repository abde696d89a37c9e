"""Downloads: whole and right, or not at all; a cut line goes on where it was. Against a server of our own."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simkv import cli
from simkv.errors import InputError
from simkv.workload import fetching, published
from simkv.workload.fetching import digest_of, fetch
from simkv.workload.published import PUBLISHED, Published

CONTENT = bytes(range(256)) * 40  # 10,240 bytes
OTHER = CONTENT[::-1]


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class Site:
    """What the server has, how it behaves, and what it was asked.

    Attributes
    ----------
    contents : what it has at each request, the last for ever.
    cuts : bytes after which it drops each connection; the last for ever, None = never.
    tags : ETag at each request.
    asked : (Range, If-Range) of each request.
    """

    contents: list[bytes] = field(default_factory=lambda: [CONTENT])
    cuts: list[int | None] = field(default_factory=lambda: [None])
    tags: list[str] = field(default_factory=lambda: ['"a"'])
    ranges: bool = True
    status: int = 200
    says_length: bool = True
    starts_late: int = 0
    asked: list[tuple[str | None, str | None]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def site() -> Iterator[Site]:
    told = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            index = len(told.asked)
            told.asked.append((self.headers.get("Range"), self.headers.get("If-Range")))
            if told.status != 200:
                self.send_error(told.status)
                return
            content = told.contents[min(index, len(told.contents) - 1)]
            tag = told.tags[min(index, len(told.tags) - 1)]
            cut = told.cuts[min(index, len(told.cuts) - 1)]
            start = 0
            wanted = self.headers.get("Range")
            if told.ranges and wanted and self.headers.get("If-Range") == tag:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                if start >= len(content):
                    self.send_error(416)
                    return
                start += told.starts_late
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            if tag:
                self.send_header("ETag", tag)
            if told.says_length:
                self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start:] if cut is None else content[start : start + cut])

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_address[1]}/trace.csv"
    yield told
    server.shutdown()
    thread.join()
    server.server_close()


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_comes_whole_and_is_what_was_published(site: Site, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    target = tmp_path / "new" / "trace.csv"
    assert fetch(site.url, target, sha256(CONTENT), len(CONTENT), lambda *told: seen.append(told)) is True
    assert target.read_bytes() == CONTENT
    assert left_in(target.parent) == ["trace.csv"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_what_is_here_is_not_asked_for_again(site: Site, tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(CONTENT)
    assert fetch(site.url, tmp_path / "t", sha256(CONTENT)) is False
    assert site.asked == []


def test_something_else_of_that_name_is_left_alone(site: Site, tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"mine")
    with pytest.raises(InputError, match="is there already, and is not what"):
        fetch(site.url, tmp_path / "t", sha256(CONTENT))
    assert (tmp_path / "t").read_bytes() == b"mine"
    assert site.asked == []


def test_a_cut_line_is_taken_up_where_it_was(site: Site, tmp_path: Path) -> None:
    """The second request asks for the rest, of the same version."""
    site.cuts = [3000, None]
    fetch(site.url, tmp_path / "t", sha256(CONTENT))
    assert (tmp_path / "t").read_bytes() == CONTENT
    assert site.asked == [(None, None), ("bytes=3000-", '"a"')]
    assert left_in(tmp_path) == ["t"]


def test_what_came_before_too_many_cuts_is_kept_for_the_next_command(site: Site, tmp_path: Path) -> None:
    site.cuts = [1000]
    with pytest.raises(InputError, match=r"cut after 3000 of 10240 bytes; 3 kB are kept, and the same command goes on"):
        fetch(site.url, tmp_path / "t", sha256(CONTENT))
    assert left_in(tmp_path) == [".t.part", ".t.part.json"]
    site.cuts = [None]
    fetch(site.url, tmp_path / "t", sha256(CONTENT))
    assert site.asked[-1] == ("bytes=3000-", '"a"')
    assert (tmp_path / "t").read_bytes() == CONTENT
    assert left_in(tmp_path) == ["t"]


@pytest.mark.parametrize("change", [{"ranges": False}, {"tags": ['W/"a"']}, {"tags": [""]}])
def test_a_server_that_cannot_go_on_begins_again(site: Site, tmp_path: Path, change: dict[str, object]) -> None:
    """No ranges, or nothing by which to know the version: all of it comes once more, and nothing twice."""
    for name, value in change.items():
        setattr(site, name, value)
    site.cuts = [3000, None]
    fetch(site.url, tmp_path / "t", sha256(CONTENT))
    assert (tmp_path / "t").read_bytes() == CONTENT
    assert site.asked[1] == (("bytes=3000-", '"a"') if "ranges" in change else (None, None))


def test_a_file_that_changed_meanwhile_is_not_patched_together(site: Site, tmp_path: Path) -> None:
    """The new version comes whole, and is refused where the old one was published."""
    site.cuts, site.tags, site.contents = [3000, None], ['"a"', '"b"'], [CONTENT, OTHER]
    with pytest.raises(InputError, match="what came is not what was published"):
        fetch(site.url, tmp_path / "t", sha256(CONTENT))
    assert left_in(tmp_path) == []
    site.asked.clear()
    fetch(site.url, tmp_path / "t", sha256(OTHER))
    assert (tmp_path / "t").read_bytes() == OTHER


def test_a_part_that_was_whole_already_is_only_checked(site: Site, tmp_path: Path) -> None:
    """The command was killed between the last byte and the name: the server has nothing behind it (416)."""
    (tmp_path / ".t.part").write_bytes(CONTENT)
    (tmp_path / ".t.part.json").write_text(json.dumps({"url": site.url, "version": '"a"'}))
    fetch(site.url, tmp_path / "t", sha256(CONTENT))
    assert site.asked == [(f"bytes={len(CONTENT)}-", '"a"')]
    assert left_in(tmp_path) == ["t"]


@pytest.mark.parametrize("note", ["", "[]", "{", '{"url": "http://elsewhere/", "version": "a"}', '{"url": 5}'])
def test_a_part_of_unknown_origin_is_not_used(site: Site, tmp_path: Path, note: str) -> None:
    (tmp_path / ".t.part").write_bytes(b"something else")
    (tmp_path / ".t.part.json").write_text(note)
    fetch(site.url, tmp_path / "t", sha256(CONTENT))
    assert (tmp_path / "t").read_bytes() == CONTENT
    assert site.asked == [(None, None)]


def test_a_server_that_goes_on_at_another_place_is_not_believed(site: Site, tmp_path: Path) -> None:
    site.cuts, site.starts_late = [3000, None], 5
    fetch(site.url, tmp_path / "t", sha256(CONTENT))
    assert (tmp_path / "t").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (404, r"trace\.csv: is not there \(HTTP 404\): its publisher moved or removed it"),
        (403, "the server refuses it: HTTP 403 Forbidden"),
        (500, "the server refuses it: HTTP 500 Internal Server Error"),
    ],
)
def test_a_refusal_is_one_line(site: Site, tmp_path: Path, status: int, message: str) -> None:
    site.status = status
    with pytest.raises(InputError, match=message) as caught:
        fetch(site.url, tmp_path / "t", sha256(CONTENT))
    assert "\n" not in str(caught.value)
    assert len(site.asked) == 1
    assert left_in(tmp_path) == []


def test_something_else_is_refused_and_not_kept(site: Site, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"want sha256:{'0' * 64}, got {sha256(CONTENT)}; nothing was kept"):
        fetch(site.url, tmp_path / "t", f"sha256:{'0' * 64}")
    assert left_in(tmp_path) == []


def test_another_length_is_refused_before_it_comes(site: Site, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="want 5 bytes, the server has 10240"):
        fetch(site.url, tmp_path / "t", sha256(CONTENT), 5)
    assert left_in(tmp_path) == []


def test_what_does_not_end_is_stopped(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a length, no more is written than the file may have."""
    site.says_length = False
    with pytest.raises(InputError, match="more than 5 bytes come"):
        fetch(site.url, tmp_path / "t", sha256(CONTENT), 5)
    monkeypatch.setattr(fetching, "_MOST_BYTES", 100)
    with pytest.raises(InputError, match="more than 100 bytes come"):
        fetch(site.url, tmp_path / "t", sha256(CONTENT))
    assert left_in(tmp_path) == []


def test_nobody_at_home_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be reached: .*refused"):
        fetch("http://127.0.0.1:1/t", tmp_path / "t", sha256(CONTENT))
    assert left_in(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_refused(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        fetch(site.url, tmp_path / "file" / "t", sha256(CONTENT))


@given(st.lists(st.integers(0, 4_000), min_size=1, max_size=6), st.booleans(), st.booleans())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_however_a_line_is_cut_the_file_is_whole_or_absent(
    site: Site, tmp_path_factory: pytest.TempPathFactory, cuts: list[int], ranges: bool, tagged: bool
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    site.cuts, site.ranges, site.tags = [*cuts, None], ranges, ['"a"' if tagged else ""]
    site.asked.clear()
    for _ in range(4):
        try:
            fetch(site.url, folder / "t", sha256(CONTENT), len(CONTENT))
        except InputError:
            assert not (folder / "t").exists()
    assert (folder / "t").read_bytes() == CONTENT
    assert left_in(folder) == ["t"]


def test_git_names_content_as_git_does(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(CONTENT)
    told = subprocess.run(["git", "hash-object", tmp_path / "t"], capture_output=True, text=True, check=True)
    assert digest_of(tmp_path / "t", "git:") == f"git:{told.stdout.strip()}"


@pytest.mark.parametrize("name", PUBLISHED)
def test_addresses_name_a_commit_and_content_is_known(name: str) -> None:
    """No address can mean another file tomorrow; each has a digest, a licence, somebody to cite and a next step."""
    each = PUBLISHED[name]
    assert re.fullmatch(r"[a-z0-9-]+", name)
    assert re.fullmatch(r"https://raw\.githubusercontent\.com/[\w-]+/[\w-]+/[0-9a-f]{40}/[\w./-]+", each.url)
    assert re.fullmatch(r"sha256:[0-9a-f]{64}|git:[0-9a-f]{40}", each.digest)
    assert (each.size_bytes is not None) == each.digest.startswith("sha256:")
    assert all((each.licence, each.cite, each.use))
    assert "FILE" in each.use


def test_no_two_names_are_the_same_file() -> None:
    assert len({each.url for each in PUBLISHED.values()}) == len({each.digest for each in PUBLISHED.values()})
    assert len(PUBLISHED) == len(published._FILES)


@pytest.fixture
def known(site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make the server's file known by name, with a digest."""

    def told(digest: str) -> None:
        made = Published("little", site.url, digest, None, "CC0", "nobody", "simkv trace info FILE")
        monkeypatch.setitem(PUBLISHED, "little", made)

    return told


def test_the_command_says_where_it_lies_whose_it_is_and_what_to_do_next(
    known: Callable[[str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known(sha256(CONTENT))
    assert cli.main(["trace", "fetch", "little", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert told.out.strip() == str(tmp_path / "trace.csv")
    assert "CC0; cite nobody" in told.err
    assert f"next: simkv trace info {tmp_path / 'trace.csv'}" in told.err
    assert cli.main(["trace", "fetch", "little", "--out", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["downloaded"] is False


def test_the_command_refuses_in_one_line(
    known: Callable[[str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known(sha256(OTHER))
    assert cli.main(["trace", "fetch", "little", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert cli.main(["trace", "fetch", "litle"]) == 2
    assert "did you mean 'little'?" in capsys.readouterr().err
    assert cli.main(["trace", "fetch"]) == 2
    assert left_in(tmp_path) == []


def test_a_list_is_put_nowhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["trace", "fetch", "--list", "--out", str(tmp_path / "new")]) == 2
    assert "--out is for a NAME" in capsys.readouterr().err


def test_the_list_names_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["trace", "fetch", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(PUBLISHED)
    assert cli.main(["trace", "fetch", "--list", "--json"]) == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)] == list(PUBLISHED)
