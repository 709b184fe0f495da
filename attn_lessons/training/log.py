"""The log of a run: rows in CSV files, one run per folder, and one sentence if the training stops early."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from .recipe import Recipe


class Log:
    """Rows of numbers, in memory and in ``folder/name.csv``, one line at a time: a killed run leaves its rows."""

    def __init__(self, folder: str | Path | None, name: str, write: bool):
        self.rows: list[dict] = []
        self.path = None if folder is None else Path(folder) / f"{name}.csv"
        self.write, self.file = write and folder is not None, None

    def resume(self, epochs: int) -> None:
        """Open the file. Rows of the first `epochs` epochs are kept; later ones are removed and trained again."""
        kept = ""
        if epochs and self.path:
            if not self.path.exists():
                raise ValueError(f"{self.path} is gone, but not the run's state: delete its folder to start again.")
            header, *lines = self.path.read_bytes().decode().splitlines(keepends=True)
            lines = [line for line in lines if line.endswith("\n")]  # a killed process may leave half a line
            lines = [line for line in lines if int(line.partition(",")[0]) <= epochs]
            self.rows = [dict(zip(header.strip().split(","), json.loads(f"[{line}]"), strict=True)) for line in lines]
            kept = header + "".join(lines)
        if self.write:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.file = open(self.path, "a", newline="", buffering=1)  # noqa: SIM115
            self.file.truncate(len(kept))

    def append(self, **row: float) -> None:
        if self.file:
            if not self.rows:
                print(*row, sep=",", file=self.file)
            print(*row.values(), sep=",", file=self.file)
        self.rows.append(row)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *exception) -> None:
        if self.file:
            self.file.close()


@contextmanager
def alone_in(folder: str | Path | None) -> Iterator[None]:
    """One run at a time writes into `folder`: another one is refused before it has written anything."""
    if folder is None:
        yield
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    lock = FileLock(Path(folder) / ".lock")  # of this process: free again when the process ends, however it ends
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(
            f"folder={str(folder)!r} is in use, another process is training into it: wait for its end, or name another "
            f"folder."
        ) from None
    try:
        yield
    finally:
        with suppress(OSError):  # Windows deletes no open file
            Path(lock.lock_file).unlink()
        lock.release()


@contextmanager
def in_one_sentence(recipe: Recipe, batches: list[dict], folder: str | Path | None) -> Iterator[None]:
    """Say why the training stopped, where, and what to do next."""
    try:
        yield
    except (KeyboardInterrupt, FloatingPointError, torch.cuda.OutOfMemoryError) as error:
        at = f"after batch {batches[-1]['batch']} (epoch {batches[-1]['epoch']})" if batches else "in its first batch"
        if isinstance(error, FloatingPointError):
            rate = recipe.learning_rate
            text = f"Training stopped {at}, since {error}: try a learning_rate lower than {rate:g}, {rate / 4:g} say."
        elif isinstance(error, torch.cuda.OutOfMemoryError):
            text = f"The GPU's memory is full {at}: try a batch_size lower than {recipe.batch_size}."
        else:
            again = "starts again"
            if folder is not None:
                first = not batches or batches[-1]["epoch"] == 1
                again = "begins again with the first weights" if first else "goes on after the last whole epoch"
                again += f", kept in {folder}"
            text = f"Training was stopped {at}. The model keeps what it has learned; the same call {again}."
        raise type(error)(text) from None
