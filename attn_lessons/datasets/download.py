"""Downloads that survive bad networks: resumed, checked, from several sources, never half there.

Plain plumbing: lesson 09 fetches CIFAR-100 with it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from ..lock import try_lock
from ..progress import progress_bar

PATIENCE = 10.0  # seconds in which a source must answer, and deliver
SLOWEST = 200_000  # bytes a second; a source that gives less is left while there are others
BLOCK = 1 << 16  # bytes


class DownloadError(OSError):
    """A file could not be fetched from any of its sources; the message names each and what it did."""


def data_folder() -> Path:
    """Where downloads land, and where files that are already there are found.

    The folder that the environment variable ``ATTN_LESSONS_DATA`` names; without it ``data/`` of the checkout, or
    ``~/.cache/attn_lessons`` where the course was installed without one.
    """
    if named := os.environ.get("ATTN_LESSONS_DATA"):
        return Path(named).expanduser()
    checkout = Path(__file__).parents[2]
    return checkout / "data" if (checkout / "pyproject.toml").exists() else Path.home() / ".cache" / "attn_lessons"


def in_data_folder(name: str, urls: Sequence[str], sha256: str, size: int, download: bool) -> Path:
    """`fetch` the file `name` into `data_folder`, or say that it is not there if `download` is False."""
    path = data_folder() / name
    if download:
        return fetch(urls, path, sha256, size)
    if not path.exists():
        raise FileNotFoundError(f"{name} is not in {path.parent}, and download=False.")
    if checksum(path) != sha256:
        raise FileNotFoundError(f"{path} is not what was published (its checksum is wrong), and download=False.")
    return path


def fetch(urls: Sequence[str], path: str | os.PathLike, sha256: str, size: int) -> Path:
    """Make sure that the file at `path` is there and is the right one; download it if not.

    Bytes arrive in ``path.part``, and stay there whatever happens: the next source, or the next call, goes on behind
    them. A source that breaks off, falls silent or trickles is left for the next one, and asked again at the end, at
    its own pace, if none is better. Only a file with the right checksum ever gets the name `path`; any other is kept as
    ``path.broken``, for you to look at. Several processes may fetch the same file: one does, the others wait.

    Parameters
    ----------
    urls : sequence of str
        Sources of the very same bytes, in the order in which they are asked.
    path : path
    sha256 : str
        64 hexadecimal digits.
    size : int
        In bytes.

    Returns
    -------
    Path

    Raises
    ------
    DownloadError
        If no source delivers the file, or the disk has no room for it.

    Examples
    --------
    >>> fetch(["https://example.org/flowers.zip"], "data/flowers.zip", sha256="9f86d0…", size=1_000)  # doctest: +SKIP
    """
    path = Path(path)
    if path.exists() and checksum(path) == sha256:  # a folder that may only be read will do
        return path
    part = path.with_name(path.name + ".part")
    with locked(path):
        if path.exists():
            if checksum(path) == sha256:  # another process was faster
                return path
            set_aside(path, path)
        missing, free = size - length(part), shutil.disk_usage(path.parent).free
        if missing > free:
            raise DownloadError(f"{path.name} needs {missing / 1e6:,.0f} MB in {path.parent}, which has "
                                f"{free / 1e6:,.0f} MB free: make room, or name another folder with "
                                "ATTN_LESSONS_DATA.")  # fmt: skip
        if said := deliver(urls, path, part, sha256, size):
            raise DownloadError(f"{path.name} could not be fetched ({'; '.join(said.values())}): try again later, or "
                                f"put the file into {path.parent} yourself.")  # fmt: skip
    return path


def deliver(urls: Sequence[str], path: Path, part: Path, sha256: str, size: int) -> dict[str, str]:
    """Ask one source after the other until `path` is there; if it never is, what was wrong with each."""
    said, mixed, hurry = {}, 0, len(urls) > 1
    while urls:
        brought = {}
        for url in urls:
            while url not in brought:
                before, host = length(part), urlsplit(url).hostname
                try:
                    receive(url, part, size, hurry)
                except (OSError, HTTPException, ValueError) as error:
                    said[url] = f"{host}: {getattr(error, 'reason', None) or error}"
                    brought[url] = length(part) - before
                    continue
                if checksum(part) == sha256:
                    part.replace(path)  # at once or not at all
                    return {}
                set_aside(part, path)
                if before and mixed < 3:  # the wrong bytes may be another source's: this one begins anew
                    mixed += 1
                else:
                    said[url], brought[url] = f"{host}: sends other bytes than were published", 0
        # All have been asked. Who brought something may go on, the best one first, and as slowly as it likes.
        urls, hurry = sorted(filter(brought.get, brought), key=brought.get, reverse=True), False
    return said


def receive(url: str, part: Path, size: int, hurry: bool) -> None:
    """Append to `part` what is missing, or raise an error that says what the source did instead.

    A length or a range that does not fit is refused before a byte is written, and no header is believed after that.
    """
    have, title = length(part), f"{part.stem} from {urlsplit(url).hostname}"
    if have >= size:
        return
    request = Request(url, headers={"User-Agent": "attn-lessons", "Range": f"bytes={have}-"})
    with (
        urlopen(request, timeout=PATIENCE) as answer,
        open(part, "ab") as file,
        progress_bar(size, title, initial=have, unit="B", unit_scale=True) as bar,
    ):
        resumed = answer.status == 206
        skip, to_come = (0, size - have) if resumed else (have, size)  # who cannot resume sends it all again
        if resumed and not (answer.headers["Content-Range"] or "").startswith(f"bytes {have}-"):
            raise ValueError(f"sends the range {answer.headers['Content-Range']!r} when asked from byte {have:,} on")
        if answer.headers["Content-Length"] not in (None, str(to_come)):
            raise ValueError(f"offers {int(answer.headers['Content-Length']):,} bytes instead of {to_come:,}")
        if answer.headers.get_content_type() == "text/html":
            raise ValueError("answers with a web page")  # a login page, most often
        since, window = time.monotonic(), 0
        while to_come and (block := answer.read1(min(BLOCK, to_come))):
            to_come -= len(block)
            window += len(block)
            file.write(block[skip:])
            bar.update(len(block[skip:]))
            skip = max(0, skip - len(block))
            elapsed = time.monotonic() - since
            if elapsed > PATIENCE:
                if hurry and window < SLOWEST * elapsed:
                    raise TimeoutError(f"only {window / elapsed / 1e3:,.0f} kB/s")
                since, window = time.monotonic(), 0
    if to_come:
        raise ValueError(f"broke off {to_come:,} bytes before the end")


def set_aside(file: Path, path: Path) -> None:
    """Keep a file that is not what was published, say so, and make room for the right one."""
    broken = path.with_name(path.name + ".broken")
    file.replace(broken)
    print(f"{path.name} is not what was published (its checksum is wrong): kept as {broken}, and fetched again.")


def checksum(path: Path) -> str:
    """sha256 of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time gets past this point for the same `path`; the lock of one that dies is free again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path.with_name(path.name + ".lock"), "a+b")  # noqa: SIM115
    except OSError as error:
        raise DownloadError(f"{path.name} cannot be written to {path.parent} ({error.strerror}): name another folder "
                            "with ATTN_LESSONS_DATA.") from None  # fmt: skip
    with file:
        if not try_lock(file):
            print(f"Another process is fetching {path.name}: waiting for it.")
            while not try_lock(file):
                time.sleep(0.1)
        yield  # also on a filesystem without locks: the checksum still keeps wrong files out
