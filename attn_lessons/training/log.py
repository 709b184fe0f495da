"""The log of a run: rows in CSV files, one run per folder, and one sentence if the training stops early."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd
import torch
from filelock import FileLock, Timeout

from .recipe import Recipe


class Log:
    """Rows of numbers, in memory and in a CSV file, one line at a time: a killed run leaves its rows."""

    def __init__(self, path: Path | None):
        self.rows, self.path, self.file = [], path or os.devnull, None

    def start(self) -> None:
        """Write the rows of the finished epochs: the file of a stopped run has rows of one that is trained again."""
        self.file = open(self.path, "w", newline="", buffering=1)  # noqa: SIM115
        pd.DataFrame(self.rows).to_csv(self.file, index=False, header=bool(self.rows))

    def append(self, **row: float) -> None:
        if not self.rows:
            print(*row, sep=",", file=self.file)
        print(*row.values(), sep=",", file=self.file)
        self.rows.append(row)

    def close(self) -> None:
        if self.file:
            self.file.close()


def must_be_alike(what: str, before: dict, now: dict, instead: str) -> None:
    """Refuse to go on with what was made in another way: half of it would be compared as if all were made alike."""
    for name, value in json.loads(json.dumps(now)).items():  # as it is read back: tuples become lists
        if name not in before or before[name] != value:
            was = f"with {name} {before[name]!r}" if name in before else f"without a word about {name}"
            raise ValueError(f"{what} {was}, and this one has {value!r}: name another {instead}.")


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
        text = f"folder={str(folder)!r} is in use, another process is training into it: name another folder."
        raise ValueError(text) from None
    try:
        yield
    finally:
        with suppress(OSError):  # Windows deletes no open file
            Path(lock.lock_file).unlink()
        lock.release()


@contextmanager
def in_one_sentence(recipe: Recipe, batches: list[dict], folder: Path | None) -> Iterator[None]:
    """Say why the training stopped, where, and what to do next."""
    try:
        yield
    except (KeyboardInterrupt, FloatingPointError, torch.cuda.OutOfMemoryError) as error:
        batch, epoch = (batches[-1]["batch"], batches[-1]["epoch"]) if batches else (0, 1)
        at = f"after batch {batch} (epoch {epoch})" if batches else "in its first batch"
        if isinstance(error, FloatingPointError):
            rate = recipe.learning_rate
            text = f"Training stopped {at}, since {error}: try a learning_rate lower than {rate:g}, {rate / 4:g} say."
        elif isinstance(error, torch.cuda.OutOfMemoryError):
            text = f"The GPU's memory is full {at}: try a batch_size lower than {recipe.batch_size}."
        else:
            begins = "begins again with the first weights" if epoch == 1 else "goes on after the last whole epoch"
            again = f"{begins}, kept in {folder}" if folder else "starts again"
            text = f"Training was stopped {at}. The model keeps what it has learned; the same call {again}."
        raise type(error)(text) from None
