"""Downloads from a server that stalls, breaks off, lies and sends wrong bytes: the right file, or a clear sentence."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from attn_lessons.datasets import download
from attn_lessons.datasets.download import DownloadError, data_folder, fetch

BODY = os.urandom(300_000)
WRONG = bytes(300_000)
SHA256, SIZE, HALF = hashlib.sha256(BODY).hexdigest(), len(BODY), len(BODY) // 2
GOOD = {"good", "no-range", "no-length", "too-much"}


class Server(BaseHTTPRequestHandler):
    """What it does is the path it is asked for."""

    target_classes: ClassVar[list] = []  # (path, from which byte on)

    def do_GET(self):
        way = self.path.strip("/")
        target_classes = int(self.headers["Range"][6:-1])
        self.target_classes.append((way, target_classes))
        if way == "missing":
            return self.send_error(404)
        ranged = not way.startswith("no-range")
        start = target_classes if ranged else 0
        body = (WRONG if way in ("wrong", "wrong-half") else BODY)[start:]
        said = {"offers-less": len(body) - 7, "offers-more": len(body) + 7}.get(way, len(body))
        self.send_response(206 if ranged else 200)
        if way not in ("no-length", "too-much", "page"):
            self.send_header("Content-Length", str(said))
        if ranged:
            self.send_header("Content-Range", f"bytes {start + (way == 'other-range')}-{SIZE - 1}/{SIZE}")
        self.send_header("Content-Type", "text/html" if way == "page" else "application/gzip")
        self.end_headers()
        with_end = {"too-much": 1000, "offers-more": 7}.get(way, 0) * b"!"
        try:
            if way in ("stall", "break", "wrong-half"):
                self.wfile.write(body[:HALF])
                time.sleep(0.9 if way == "stall" else 0)
            elif way == "silent":
                time.sleep(0.9)
            elif way.startswith("no-range-"):
                self.wfile.write(body[: int(way[9:])])
            elif way == "piecemeal":
                self.wfile.write(body[:70_000])
            elif way == "trickle":
                for i in range(0, len(body), 3000):
                    self.wfile.write(body[i : i + 3000])
                    time.sleep(0.01)
            elif way == "page":
                self.wfile.write(b"<p>Please log in.</p>")
            else:
                self.wfile.write(body + with_end)
        except OSError:
            pass  # the client has gone, as it should
        self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(autouse=True)
def nothing_asked():
    Server.target_classes.clear()


@pytest.fixture
def impatient(monkeypatch):
    """For sources that stall or trickle. Elsewhere there are ten seconds, since a busy machine stalls, too."""
    monkeypatch.setattr(download, "PATIENCE", 0.4)
    monkeypatch.setattr(download, "SLOWEST", 1_000_000)


def get(server: str, folder: Path, *ways: str) -> Path:
    path = fetch([server + way for way in ways], folder / "file.bin", SHA256, SIZE)
    assert path.read_bytes() == BODY and not path.with_name("file.bin.part").exists()
    return path


# ------------------------------------------------------------------------------------------ one source
@pytest.mark.parametrize("way", sorted(GOOD))
def test_fetches_once(server, tmp_path, way):
    get(server, tmp_path / "new" / "folder", way)
    get(server, tmp_path / "new" / "folder", way)
    assert Server.target_classes == [(way, 0)]


@pytest.mark.parametrize("way", sorted(GOOD))
def test_goes_on_where_it_was_stopped(server, tmp_path, way):
    (tmp_path / "file.bin.part").write_bytes(BODY[:HALF])
    get(server, tmp_path, way)
    assert Server.target_classes == [(way, HALF)]


def test_one_source_that_breaks_off_is_asked_again_while_it_brings_something(server, tmp_path):
    get(server, tmp_path, "piecemeal")
    assert [start for _, start in Server.target_classes] == [0, 70_000, 140_000, 210_000, 280_000]


def test_the_only_source_may_be_slow(impatient, server, tmp_path):
    get(server, tmp_path, "trickle")
    assert Server.target_classes == [("trickle", 0)]


def test_shows_rate_and_time_left(server, tmp_path, capsys):
    get(server, tmp_path, "trickle")
    out = capsys.readouterr().out
    assert "file.bin from 127.0.0.1" in out and "B/s" in out and "<" in out and "/300k" in out


# ------------------------------------------------------------------------------------------ a second source
@pytest.mark.parametrize("way", ["stall", "break"])
def test_the_next_source_goes_on_behind_the_bytes_of_the_first(impatient, server, tmp_path, way):
    get(server, tmp_path, way, "good")
    assert Server.target_classes == [(way, 0), ("good", HALF)]


def test_a_source_that_trickles_is_left_for_the_next(impatient, server, tmp_path):
    get(server, tmp_path, "trickle", "good")
    (first, _), (second, start) = Server.target_classes
    assert (first, second) == ("trickle", "good") and 0 < start < SIZE


@pytest.mark.parametrize("way", ["silent", "missing", "offers-less", "offers-more", "other-range", "page"])
def test_a_source_that_cannot_be_right_leaves_no_byte(impatient, server, tmp_path, way):
    get(server, tmp_path, way, "good")
    assert Server.target_classes == [(way, 0), ("good", 0)]


def test_a_slow_source_is_better_than_none(impatient, server, tmp_path):
    get(server, tmp_path, "trickle", "missing")
    assert [way for way, _ in Server.target_classes] == ["trickle", "missing", "trickle"]


@pytest.mark.parametrize(("sent", "kept"), [(500, 1000), (2000, 2000)])
def test_nothing_is_lost_to_a_source_that_cannot_resume_and_breaks_off(server, tmp_path, sent, kept):
    (tmp_path / "file.bin.part").write_bytes(BODY[:1000])
    get(server, tmp_path, f"no-range-{sent}", "good")
    assert Server.target_classes == [(f"no-range-{sent}", 1000), ("good", kept)]


def test_wrong_bytes_are_kept_aside_and_the_next_source_begins_anew(server, tmp_path, capsys):
    get(server, tmp_path, "wrong", "good")
    assert Server.target_classes == [("wrong", 0), ("good", 0)]
    assert (tmp_path / "file.bin.broken").read_bytes() == WRONG
    assert "file.bin is not what was published (its checksum is wrong): kept as" in capsys.readouterr().out


def test_wrong_bytes_of_one_source_are_not_blamed_on_the_next(server, tmp_path):
    get(server, tmp_path, "wrong-half", "good")
    assert Server.target_classes == [("wrong-half", 0), ("good", HALF), ("good", 0)]


# ------------------------------------------------------------------------------------------ no source
@pytest.mark.parametrize(
    ("way", "sentence"),
    [
        ("silent", "timed out"),
        ("missing", "Not Found"),
        ("wrong", "sends other bytes than were published"),
        ("offers-less", "offers 299,993 bytes instead of 300,000"),
        ("offers-more", "offers 300,007 bytes instead of 300,000"),
        ("page", "answers with a web page"),
        ("other-range", "sends the range 'bytes 1-299999/300000' when asked from byte 0 on"),
    ],
)
def test_says_what_was_wrong_with_every_source(impatient, server, tmp_path, way, sentence):
    with pytest.raises(DownloadError, match=r"file\.bin could not be fetched") as error:
        get(server, tmp_path, way, "missing")
    assert f"127.0.0.1: {sentence}" in str(error.value) and "Not Found" in str(error.value)
    assert f"put the file into {tmp_path} yourself" in str(error.value)


def test_gives_up_on_sources_that_break_off_with_wrong_bytes_for_ever(server, tmp_path):
    with pytest.raises(DownloadError, match="could not be fetched"):
        get(server, tmp_path, "wrong-half", "wrong-half/")
    assert len(Server.target_classes) < 20


def test_offline(tmp_path):
    with pytest.raises(DownloadError, match=r"could not be fetched \(127\.0\.0\.1: .*refused"):
        fetch(["http://127.0.0.1:9/file"], tmp_path / "file.bin", SHA256, SIZE)


def test_no_room_is_said_before_it_starts(server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**9, 10**9, HALF))
    with pytest.raises(DownloadError, match=r"file\.bin needs 0 MB in .*, which has 0 MB free: make room"):
        get(server, tmp_path, "good")
    assert Server.target_classes == []
    (tmp_path / "file.bin.part").write_bytes(BODY[:HALF])  # now there is room for the rest
    get(server, tmp_path, "good")


def test_a_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DownloadError, match="name another folder with ATTN_LESSONS_DATA"):
        get(server, tmp_path / "file", "good")


# ------------------------------------------------------------------------------------------ what is there already
@pytest.mark.parametrize("there", [b"", BODY[:-1], BODY + b"!", BODY[:1000] + b"?" + BODY[1001:]])
def test_a_truncated_or_altered_file_is_named_kept_aside_and_fetched_again(server, tmp_path, capsys, there):
    (tmp_path / "file.bin").write_bytes(there)
    get(server, tmp_path, "good")
    assert (tmp_path / "file.bin.broken").read_bytes() == there
    assert f"kept as {tmp_path / 'file.bin.broken'}" in capsys.readouterr().out


@pytest.mark.parametrize("part", [WRONG[:HALF], WRONG, WRONG + BODY])
def test_a_spoiled_part_is_fetched_again(server, tmp_path, part):
    (tmp_path / "file.bin.part").write_bytes(part)
    get(server, tmp_path, "good")
    assert Server.target_classes[-1] == ("good", 0)


def test_a_file_that_is_there_needs_no_right_to_write(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(BODY)
    assert fetch([], path, SHA256, SIZE) == path
    assert list(tmp_path.iterdir()) == [path]  # no lock, no part


# ------------------------------------------------------------------------------------------ several processes
SCRIPT = "from attn_lessons.datasets.download import fetch; import sys; fetch([sys.argv[1]], {!r}, {!r}, {})"


def start(server: str, path: Path, way: str) -> subprocess.Popen:
    light = "import sys, types, pathlib; p = types.ModuleType('attn_lessons.datasets'); "  # without torch: faster
    light += f"p.__path__ = [{os.path.dirname(download.__file__)!r}]; sys.modules['attn_lessons.datasets'] = p; "
    command = [sys.executable, "-u", "-c", light + SCRIPT.format(str(path), SHA256, SIZE), server + way]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_of_several_processes_one_fetches_and_the_others_wait(server, tmp_path):
    processes = [start(server, tmp_path / "file.bin", "trickle") for _ in range(3)]
    said = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert (tmp_path / "file.bin").read_bytes() == BODY
    assert Server.target_classes == [("trickle", 0)]


def test_a_process_that_waits_says_so_and_takes_what_the_other_one_fetched(server, tmp_path):
    path = tmp_path / "file.bin"
    with download.locked(path):
        process = start(server, path, "good")
        assert process.stdout.readline() == "Another process is fetching file.bin: waiting for it.\n"
        path.write_bytes(BODY)
    assert process.communicate(timeout=60)[1] == "" and process.returncode == 0
    assert Server.target_classes == []


def test_the_next_process_goes_on_where_a_killed_one_was(server, tmp_path):
    part = tmp_path / "file.bin.part"
    process = start(server, tmp_path / "file.bin", "trickle")
    while not (part.exists() and part.stat().st_size):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = part.stat().st_size
    get(server, tmp_path, "good")
    assert Server.target_classes[-1] == ("good", kept) and 0 < kept < SIZE


# ------------------------------------------------------------------------------------------ where
def test_the_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("ATTN_LESSONS_DATA", raising=False)
    assert data_folder() == Path(download.__file__).parents[2] / "data"
    monkeypatch.setenv("ATTN_LESSONS_DATA", "~/images")
    assert data_folder() == Path.home() / "images"
    monkeypatch.delenv("ATTN_LESSONS_DATA")
    monkeypatch.setattr(download, "__file__", str(tmp_path / "site-packages" / "attn_lessons" / "datasets" / "x.py"))
    assert data_folder() == Path.home() / ".cache" / "attn_lessons"
