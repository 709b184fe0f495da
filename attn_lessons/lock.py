"""One process at a time: a lock that goes with its process, also when that is killed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Whether nobody else holds the lock called `path`: if so, it is held until the end of the block.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp(), "lock")
    >>> with alone(path) as one, alone(path) as other:
    ...     one, other
    (True, False)
    """
    while True:
        with open(path, "a+b") as file:
            free = try_lock(file)
            if free and not os.fstat(file.fileno()).st_nlink:
                continue  # whoever had it has deleted it since it was opened here: there may be a new one
            try:
                yield free
            finally:
                if free:
                    with suppress(OSError):  # Windows deletes no open file
                        path.unlink()
            return


def try_lock(file: IO[bytes]) -> bool:
    """Lock an open file until it is closed, or say that another process has; without locks, everybody may have it."""
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a filesystem without locks
        pass
    return True
