"""Downloads from a Hub on this machine that breaks off, lies, lacks the file or is away: the file, or one sentence."""

import errno
import hashlib
import os
import re
import subprocess
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import huggingface_hub.constants
import huggingface_hub.file_download
import pytest
from huggingface_hub.utils import WeakFileLock

from attn_lessons.datasets import download
from attn_lessons.datasets.download import DownloadError, data_folder, hub_file

CHUNK = 10 * 2**20  # bytes that the library keeps at once
BODY = os.urandom(2 * CHUNK)
WRONG = bytes(2 * CHUNK)
SHA256 = hashlib.sha256(BODY).hexdigest()
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """What it does is the name of the dataset it is asked for."""

    gets: ClassVar[list] = []  # (name of the dataset, from which byte on)

    def answer(self):
        """Send the headers; returns what else is to be sent."""
        way = self.path.split("/")[3]
        if self.path != f"/datasets/course/{way}/resolve/{COMMIT}/some/file.bin" or way == "missing":
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        start = int((self.headers["Range"] or "bytes=0-")[6:-1])
        body = (WRONG if way == "wrong" else BODY)[start:]
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{SHA256}"')
        self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
        self.end_headers()
        if self.command == "GET":
            self.gets.append((way, start))
        return body[: CHUNK + 1000] if way == "breaks-off" and not start else body

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.wfile.write(self.answer() or b"")

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def hub():
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(autouse=True)
def path(hub, tmp_path, monkeypatch) -> Path:
    """Where the file is to land; nothing is there, and nothing has been asked for."""
    monkeypatch.setenv("HF_ENDPOINT", hub)
    monkeypatch.setenv("ATTN_LESSONS_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    Hub.gets.clear()
    return tmp_path / "data" / "images" / "some" / "file.bin"


def get(way: str, **options) -> Path:
    return hub_file(f"course/{way}", COMMIT, "some/file.bin", SHA256, "images", **options)


# ------------------------------------------------------------------------------------------ it gets there
def test_fetches_once(path):
    assert get("good") == get("good") == path and path.read_bytes() == BODY
    assert Hub.gets == [("good", 0)]


def test_goes_on_where_the_connection_broke(path):
    with suppress(DownloadError):  # older versions of the library leave that to the next call
        get("breaks-off")
    assert get("breaks-off").read_bytes() == BODY
    assert Hub.gets == [("breaks-off", 0), ("breaks-off", CHUNK)]


def test_a_file_that_is_there_needs_no_hub_and_no_right_to_write(path, monkeypatch):
    path.parent.mkdir(parents=True)
    path.write_bytes(BODY)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert get("good") == get("good", download=False) == path
    assert list(path.parent.iterdir()) == [path]  # no lock, nothing of the library's


@pytest.mark.parametrize("there", [b"", BODY[:-1], BODY + b"!", BODY[:1000] + b"?" + BODY[1001:]])
def test_a_truncated_or_altered_file_is_named_kept_aside_and_fetched_again(path, capsys, there):
    get("good").write_bytes(there)  # the library's notes still say that it is the right one
    assert get("good").read_bytes() == BODY
    assert path.with_name("file.bin.broken").read_bytes() == there
    assert f"{path} is not what was published (its checksum is wrong): kept as file.bin.br" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------ it does not
def refused(way: str, *words: str) -> None:
    with pytest.raises(DownloadError, match=r"^file\.bin could not be fetched from course/\S+ on .* \(") as error:
        get(way)
    assert all(word in str(error.value) for word in words), error.value
    assert str(error.value).count("\n") == 0


def test_a_hub_without_the_file(path):
    refused("missing", "404", "try again later, set HF_ENDPOINT to a mirror", f"put the file at {path}")


def test_no_network(path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the library tries five times more
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    refused("good", "refused", "try again later", f"or put the file at {path} yourself.")


def test_wrong_bytes_never_get_the_name(path, capsys):
    refused("wrong", "its checksum is not the published one")
    assert not path.exists() and path.with_name("file.bin.broken").read_bytes() == WRONG
    assert "file.bin is not what was published" in capsys.readouterr().out
    assert get("good").read_bytes() == BODY


def test_a_full_disk(path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(huggingface_hub.file_download, "http_get", full)
    refused("good", "(No space left on device)", "make room there, set ATTN_LESSONS_DATA to another folder, or")
    monkeypatch.undo()
    assert not path.exists()


def test_a_folder_that_cannot_be_written(path):
    path.parents[2].write_text("no folder")
    refused("good", "Not a directory", "set ATTN_LESSONS_DATA to another folder")


def test_where_nothing_may_be_fetched(path):
    with pytest.raises(FileNotFoundError, match=rf"^{re.escape(str(path))} is not there, and download=False\.$"):
        get("good", download=False)
    assert not path.parent.exists()
    path.parent.mkdir(parents=True)
    path.write_bytes(WRONG)
    with pytest.raises(FileNotFoundError, match=r"is not what was published .*, and download=False"):
        get("good", download=False)
    assert path.read_bytes() == WRONG and Hub.gets == []


# ------------------------------------------------------------------------------------------ several processes
def test_of_several_processes_one_fetches_and_the_others_wait(path):
    light = "import sys, types; p = types.ModuleType('attn_lessons.datasets'); "  # without torch: faster
    light += f"p.__path__ = [{os.path.dirname(download.__file__)!r}]; sys.modules['attn_lessons.datasets'] = p; "
    ask = f"hub_file('course/good', {COMMIT!r}, 'some/file.bin', {SHA256!r}, 'images')"
    command = [sys.executable, "-c", f"{light}from attn_lessons.datasets.download import hub_file; print({ask})"]
    environment = {**os.environ, "HF_HUB_CACHE": str(path.parent / "cache")}
    path.parent.mkdir(parents=True)
    with WeakFileLock(f"{path}.lock"):  # until all are there
        processes = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        with pytest.raises(subprocess.TimeoutExpired):
            processes[0].wait(timeout=3)
        assert Hub.gets == []
    said = [process.communicate(timeout=120)[0].strip() for process in processes]
    assert said == 3 * [str(path)] and path.read_bytes() == BODY
    assert Hub.gets == [("good", 0)]


# ------------------------------------------------------------------------------------------ where
def test_the_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("ATTN_LESSONS_DATA", raising=False)
    assert data_folder() == Path(download.__file__).parents[2] / "data"
    monkeypatch.setenv("ATTN_LESSONS_DATA", "~/images")
    assert data_folder() == Path.home() / "images"
    monkeypatch.delenv("ATTN_LESSONS_DATA")
    monkeypatch.setattr(download, "__file__", str(tmp_path / "site-packages" / "attn_lessons" / "datasets" / "x.py"))
    assert data_folder() == Path.home() / ".cache" / "attn_lessons"
