"""The log of a run: rows in CSV files, one run per folder, and one sentence if the training stops early."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd
import torch
from filelock import FileLock, Timeout

from .recipe import Recipe


class Log:
    """Rows of numbers, in memory and in ``folder/name.csv``, one line at a time: a killed run leaves its rows."""

    def __init__(self, folder: Path | None, name: str):
        self.rows: list[dict] = []
        self.path, self.file = folder and folder / f"{name}.csv", None

    def start(self) -> None:
        """Write the rows of the finished epochs: the file of a stopped run has rows of one that is trained again."""
        if self.path:
            self.file = open(self.path, "w", newline="", buffering=1)  # noqa: SIM115
            pd.DataFrame(self.rows).to_csv(self.file, index=False, header=bool(self.rows))

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
def alone_in(folder: Path | None) -> Iterator[None]:
    """One run at a time writes into `folder`: another one is refused before it has written anything."""
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")  # free again when this process ends, however it ends
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
