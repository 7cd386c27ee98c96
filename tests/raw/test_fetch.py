# ruff: noqa: D102, D103 - the names of the tests are sentences
"""Files come whole or not at all, over a real HTTP server that breaks, lies and forgets."""

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

import pytest

import stages.raw.fetch
from stages.base.errors import InputError
from stages.raw.fetch import fetch
from stages.sources.base import RemoteFile

ROOT = Path(__file__).parents[2]
CONTENT = bytes(range(256)) * (3 << 12)  # 3 MiB, 12 chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Page:
    """What the server gives at one path, and how it misbehaves."""

    content: bytes = CONTENT
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"v1"'})
    statuses: list[int] = field(default_factory=list)
    """Answered first, one a request, before the file is given."""
    cuts: list[int] = field(default_factory=list)
    """The connection is cut after so many bytes of the file, one a request."""
    knows_ranges: bool = True
    knows_if_range: bool = True
    longest_range: int | None = None
    """A longer one is answered in part."""
    length: Literal["given", "chunks", "none"] = "given"
    pause_s: float = 0.0
    """After each piece of 64 KiB."""


class Handler(BaseHTTPRequestHandler):
    """Serves the pages of its server and notes the headers of each request."""

    server: "Site"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.requests.append((self.path, dict(self.headers)))
        page = self.server.pages.get(path)
        if page is None or page.statuses:
            self.send_error(page.statuses.pop(0) if page else 404)
            return
        start = self.start_of_range(page)
        if start >= len(page.content):
            self.answer(416, page, {"Content-Range": f"bytes */{len(page.content)}"}, b"")
        elif start:
            total = len(page.content)
            end = start + page.longest_range if page.longest_range else total
            body = page.content[start:end]
            span = {"Content-Range": f"bytes {start}-{start + len(body) - 1}/{total}"}
            self.answer(206, page, span, body)
        else:
            self.answer(200, page, {}, page.content)

    def start_of_range(self, page: Page) -> int:
        asked = self.headers.get("Range")
        current = page.headers.get("ETag") or page.headers.get("Last-Modified")
        changed = page.knows_if_range and self.headers.get("If-Range") != current
        if asked is None or not page.knows_ranges or changed:
            return 0
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def answer(self, status: int, page: Page, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        length = {
            "given": {"Content-Length": str(len(body))},
            "chunks": {"Transfer-Encoding": "chunked"},
            "none": {},
        }
        for name, value in (page.headers | headers | length[page.length]).items():
            self.send_header(name, value)
        self.end_headers()
        end = page.cuts.pop(0) if page.cuts else None
        with contextlib.suppress(ConnectionError):  # a client that is killed
            for start in range(0, len(body[:end]), 1 << 16):
                self.send(body[:end][start : start + (1 << 16)], page)
                time.sleep(page.pause_s)
            if page.length == "chunks" and end is None:
                self.wfile.write(b"0\r\n\r\n")

    def send(self, piece: bytes, page: Page) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if page.length == "chunks" else piece)

    def log_message(self, format: str, *values: object) -> None:
        """Stay silent."""


class Site(ThreadingHTTPServer):
    """A server on a free port of this machine."""

    daemon_threads = True

    def __init__(self) -> None:
        """Listen on it."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages: dict[str, Page] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []

    def url(self, path: str, user: str = "") -> str:
        return f"http://{user}127.0.0.1:{self.server_port}{path}"

    def ranges(self) -> list[str | None]:
        return [headers.get("Range") for _, headers in self.requests]


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(stages.raw.fetch, "BACKOFF_S", 0.01)
    with Site() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@dataclass
class Place:
    """Where a test fetches to."""

    target: Path
    partial: Path
    progress: list[tuple[int, int | None]] = field(default_factory=list)

    @property
    def part(self) -> Path:
        return self.partial / "a.zip.part"

    def fetch(self, *urls: str, sha256: tuple[str, ...] = (SHA256,), mirrors: tuple[str, ...] = ()) -> str:
        def note(done: int, total: int | None) -> None:
            self.progress.append((done, total))

        remote = RemoteFile("a.zip", urls, sha256)
        return fetch(remote, self.target, self.partial, mirrors, note, "what to do")

    def refusal(self, *urls: str, sha256: tuple[str, ...] = (SHA256,), mirrors: tuple[str, ...] = ()) -> str:
        with pytest.raises(InputError) as caught:
            self.fetch(*urls, sha256=sha256, mirrors=mirrors)
        assert not self.target.exists()
        return str(caught.value)

    def leave_part(self, size: int, url: str, validator: str | None) -> None:
        self.partial.mkdir()
        self.part.write_bytes(CONTENT[:size])
        self.part.with_name("a.zip.part.json").write_text(json.dumps({"url": url, "validator": validator}))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "raw" / "a.zip", tmp_path / "partial")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_file_is_fetched_whole_with_progress_and_nothing_is_left_over(site, place):
    site.pages["/a.zip"] = Page()
    assert place.fetch(site.url("/a.zip")) == SHA256
    assert place.target.read_bytes() == CONTENT
    assert list(place.partial.iterdir()) == []
    assert place.progress[0] == (0, len(CONTENT))
    assert place.progress[-1] == (len(CONTENT), len(CONTENT))
    assert len(place.progress) > 10
    assert site.requests[0][1]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("length", ["chunks", "none"])
def test_a_file_of_unknown_length_and_digest_is_fetched(site, place, length):
    site.pages["/a.zip"] = Page(length=length)
    assert place.fetch(site.url("/a.zip"), sha256=()) == SHA256
    assert place.progress[-1] == (len(CONTENT), None)


def test_any_of_several_digests_in_any_case_is_accepted(site, place):
    site.pages["/a.zip"] = Page()
    assert place.fetch(site.url("/a.zip"), sha256=("0" * 64, SHA256.upper())) == SHA256


@pytest.mark.parametrize(
    "headers", [{"ETag": '"v1"'}, {"Last-Modified": "Sat, 01 Aug 2026 00:00:00 GMT", "ETag": 'W/"weak"'}]
)
def test_a_connection_that_breaks_is_taken_up_where_it_stood(site, place, headers):
    page = site.pages["/a.zip"] = Page(headers=headers, cuts=[1_000_000, 500_000])
    if "Last-Modified" in headers:
        page.knows_if_range = False
    assert place.fetch(site.url("/a.zip")) == SHA256
    assert place.target.read_bytes() == CONTENT
    assert site.ranges() == [None, "bytes=1000000-", "bytes=1500000-"]
    validator = headers.get("Last-Modified", '"v1"')
    assert site.requests[1][1]["If-Range"] == validator


def test_a_file_in_chunks_that_breaks_is_taken_up(site, place):
    site.pages["/a.zip"] = Page(length="chunks", cuts=[1_000_000])
    assert place.fetch(site.url("/a.zip"), sha256=()) == SHA256
    assert site.ranges() == [None, "bytes=1000000-"]


def test_a_long_download_outlives_many_breaks_as_long_as_it_gains(site, place):
    content = bytes(12 << 20)
    site.pages["/a.zip"] = Page(content, cuts=[1 << 20] * 11)
    place.fetch(site.url("/a.zip"), sha256=(hashlib.sha256(content).hexdigest(),))
    assert len(site.requests) == 12


def test_a_place_that_breaks_without_gain_is_given_up(site, place):
    site.pages["/a.zip"] = Page(cuts=[100] * 50, knows_ranges=False)
    site.pages["/other/a.zip"] = Page()
    assert place.fetch(site.url("/a.zip"), site.url("/other/a.zip")) == SHA256
    assert place.target.read_bytes() == CONTENT
    assert len(site.requests) == stages.raw.fetch.MAX_BREAKS + 2


def test_a_server_that_ignores_ranges_starts_from_zero(site, place):
    site.pages["/a.zip"] = Page(cuts=[1_000_000], knows_ranges=False)
    assert place.fetch(site.url("/a.zip")) == SHA256
    assert place.target.read_bytes() == CONTENT
    assert site.ranges() == [None, "bytes=1000000-"]


@pytest.mark.parametrize("knows_if_range", [True, False])
def test_a_file_that_changed_since_starts_from_zero(site, place, knows_if_range):
    site.pages["/a.zip"] = Page(headers={"ETag": '"v2"'}, knows_if_range=knows_if_range)
    place.leave_part(1000, site.url("/a.zip"), '"v1"')
    place.part.write_bytes(b"old bytes")
    assert place.fetch(site.url("/a.zip")) == SHA256
    assert place.target.read_bytes() == CONTENT
    assert site.ranges()[0] == "bytes=9-"


@pytest.mark.parametrize(("address", "validator"), [("/other/a.zip", '"v1"'), ("/a.zip", None)])
def test_a_part_from_elsewhere_or_of_no_version_is_not_taken_up(site, place, address, validator):
    site.pages["/a.zip"] = Page()
    place.leave_part(1000, site.url(address), validator)
    assert place.fetch(site.url("/a.zip")) == SHA256
    assert site.ranges() == [None]


def test_a_damaged_note_beside_the_part_starts_from_zero(site, place):
    site.pages["/a.zip"] = Page()
    place.leave_part(1000, site.url("/a.zip"), '"v1"')
    place.part.with_name("a.zip.part.json").write_text('{"url": "ht')
    assert place.fetch(site.url("/a.zip")) == SHA256
    assert site.ranges() == [None]


def test_a_part_that_was_complete_already_is_not_fetched_again(site, place):
    site.pages["/a.zip"] = Page()
    place.leave_part(len(CONTENT), site.url("/a.zip"), '"v1"')
    assert place.fetch(site.url("/a.zip")) == SHA256
    assert place.target.read_bytes() == CONTENT
    assert place.progress == [(len(CONTENT), len(CONTENT))]


def test_a_part_longer_than_the_file_starts_from_zero(site, place):
    site.pages["/a.zip"] = Page()
    place.leave_part(0, site.url("/a.zip"), '"v1"')
    place.part.write_bytes(CONTENT + b"more")
    assert place.fetch(site.url("/a.zip")) == SHA256
    assert place.target.read_bytes() == CONTENT


def test_a_server_that_gives_less_than_asked_is_asked_again(site, place):
    site.pages["/a.zip"] = Page(longest_range=1 << 20)
    place.leave_part(1 << 20, site.url("/a.zip"), '"v1"')
    assert place.fetch(site.url("/a.zip"), sha256=()) == SHA256
    assert site.ranges() == ["bytes=1048576-", "bytes=2097152-"]


def test_a_server_error_is_asked_again_and_a_missing_file_is_not(site, place):
    site.pages["/a.zip"] = Page(statuses=[500, 503])
    assert place.fetch(site.url("/gone.zip"), site.url("/a.zip")) == SHA256
    assert [path for path, _ in site.requests] == ["/gone.zip", "/a.zip", "/a.zip", "/a.zip"]


def test_a_wrong_checksum_drops_the_part_and_goes_on(site, place):
    site.pages["/wrong.zip"] = Page(b"<html>please log in</html>")
    site.pages["/a.zip"] = Page()
    assert place.fetch(site.url("/wrong.zip"), site.url("/a.zip")) == SHA256
    assert place.target.read_bytes() == CONTENT


def test_a_wrong_checksum_says_what_came_and_what_was_expected(site, place):
    site.pages["/wrong.zip"] = Page(b"<html>please log in</html>")
    message = place.refusal(site.url("/wrong.zip"))
    assert f"its sha256 is {hashlib.sha256(b'<html>please log in</html>').hexdigest()}" in message
    assert f"expected {SHA256}" in message
    assert list(place.partial.iterdir()) == []


def test_a_part_with_wrong_bytes_is_found_after_it_was_taken_up(site, place):
    site.pages["/a.zip"] = Page()
    place.leave_part(0, site.url("/a.zip"), '"v1"')
    place.part.write_bytes(b"x" * 1000)
    assert "its sha256 is" in place.refusal(site.url("/a.zip"))
    assert place.fetch(site.url("/a.zip")) == SHA256


def test_each_place_stands_in_one_message_with_its_reason_and_without_secrets(site, place, tmp_path):
    site.pages["/down.zip"] = Page(statuses=[503] * 50)
    site.pages["/packed.zip"] = Page(headers={"Content-Encoding": "gzip"})
    message = place.refusal(
        site.url("/gone.zip?token=querysecret", user="me:usersecret@"),
        site.url("/down.zip"),
        site.url("/packed.zip"),
        f"http://me:usersecret@127.0.0.1:{free_port()}/a.zip?token=querysecret#x",
        mirrors=(str(tmp_path / "mirror"), site.url("/base?key=querysecret")),
    )
    reasons = [line.rpartition(": ")[2] for line in message.splitlines()[1:-1]]
    assert reasons == [
        "No such file or directory",
        "HTTP 404 Not Found",
        "HTTP 503 Service Unavailable",
        "the server sends it compressed, though asked not to",
        "Connection refused",
        "HTTP 404 Not Found",
    ]
    assert "secret" not in message
    assert "me:" not in message
    assert f"  {site.url('/gone.zip')}?...: HTTP 404" in message
    assert message.splitlines()[-1] == "what to do"
    assert [path for path, _ in site.requests][-1] == "/base/a.zip?key=querysecret"


def test_a_broken_place_says_how_it_broke(site, place):
    site.pages["/a.zip"] = Page(cuts=[100] * 50)
    message = place.refusal(site.url("/a.zip"))
    assert "the connection broke (the server closed it); given up after 5 breaks in a row" in message
    assert place.part.read_bytes() == CONTENT[:500]  # kept for the next run


def test_a_server_that_goes_silent_is_given_up(site, place, monkeypatch):
    monkeypatch.setattr(stages.raw.fetch, "TIMEOUT_S", (1, 0.05))
    site.pages["/a.zip"] = Page(pause_s=0.3)
    assert "no answer in time" in place.refusal(site.url("/a.zip"))


def test_local_folders_come_first_and_http_mirrors_last(site, place, tmp_path):
    site.pages["/base/a.zip"] = Page()
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "a.zip").write_bytes(CONTENT)
    mirrors = (site.url("/base/"), str(mirror))
    assert place.fetch(site.url("/own.zip"), mirrors=mirrors) == SHA256
    assert site.requests == []
    assert place.progress[-1] == (len(CONTENT), len(CONTENT))
    assert place.target.stat().st_ino != (mirror / "a.zip").stat().st_ino
    (mirror / "a.zip").write_bytes(b"wrong")
    assert place.fetch(site.url("/own.zip"), mirrors=mirrors) == SHA256
    assert [path for path, _ in site.requests] == ["/own.zip", "/base/a.zip"]


@pytest.mark.parametrize("mirror", ["ftp://host/x", "file:///etc", "s3://me:secret@bucket"])
def test_another_scheme_is_refused_before_anything_is_fetched(site, place, mirror):
    message = place.refusal(site.url("/a.zip"), mirrors=(mirror,))
    assert "allowed are http:// and https:// addresses and, as mirrors, local folders" in message
    assert "secret" not in message
    assert site.requests == []


@pytest.mark.parametrize("name", ["", "..", "../a.zip", "/a.zip", "b/a.zip"])
def test_a_name_with_folders_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="is no file name"):
        fetch(RemoteFile(name, ()), tmp_path / "x", tmp_path, ())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_says_what_is_needed_and_free(site, place):
    site.pages["/a.zip"] = Page()
    place.partial.mkdir()
    place.part.symlink_to("/dev/full")
    message = place.refusal(site.url("/a.zip"), site.url("/a.zip"))
    assert f"a.zip.part: the disk is full: {len(CONTENT)} more bytes are needed" in message
    assert " are free" in message
    assert len(site.requests) == 1


def test_a_target_that_stands_is_replaced_only_by_a_whole_file(site, place):
    place.target.parent.mkdir()
    place.target.write_bytes(b"before")
    site.pages["/a.zip"] = Page(cuts=[1000] * 50)
    with pytest.raises(InputError):
        place.fetch(site.url("/a.zip"))
    assert place.target.read_bytes() == b"before"
    site.pages["/a.zip"].cuts.clear()
    with place.target.open("rb") as before:
        place.fetch(site.url("/a.zip"))
        assert before.read() == b"before"  # moved over it, not written into it
    assert place.target.read_bytes() == CONTENT


def test_a_killed_download_is_taken_up_by_the_next_run(site, place):
    page = site.pages["/a.zip"] = Page(pause_s=0.05)
    script = (
        "import sys; from pathlib import Path; from stages.raw.fetch import fetch;"
        "from stages.sources.base import RemoteFile;"
        "fetch(RemoteFile('a.zip', (sys.argv[1],)), Path(sys.argv[2]), Path(sys.argv[3]), ())"
    )
    arguments = [site.url("/a.zip"), str(place.target), str(place.partial)]
    child = subprocess.Popen([sys.executable, "-c", script, *arguments], cwd=ROOT)
    deadline_s = time.monotonic() + 60
    while not (place.part.exists() and place.part.stat().st_size >= 1 << 19):
        assert child.poll() is None
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert not place.target.exists()
    size = place.part.stat().st_size
    assert place.part.read_bytes() == CONTENT[:size]
    page.pause_s = 0.0
    assert place.fetch(site.url("/a.zip")) == SHA256
    assert place.target.read_bytes() == CONTENT
    assert site.ranges() == [None, f"bytes={size}-"]
