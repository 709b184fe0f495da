"""The log of a run: rows in CSV files, one run per folder, and one sentence if the training stops early."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pandas as pd
import torch
from filelock import FileLock, Timeout

from .recipe import Recipe


class Log(ExitStack):
    """The rows of a run, in memory and, one line at a time, in ``batches.csv`` and ``epochs.csv`` of its folder."""

    def __init__(self, folder: Path | None):
        super().__init__()
        self.folder, self.rows, self.files = folder, {"batches": [], "epochs": []}, {}

    def start(self) -> None:
        """Write the rows of the finished epochs: the file of a stopped run has rows of one that is trained again."""
        for name, rows in self.rows.items():
            path = self.folder / f"{name}.csv" if self.folder else os.devnull
            file = self.files[name] = self.enter_context(open(path, "w", newline="", buffering=1))  # noqa: SIM115
            pd.DataFrame(rows).to_csv(file, index=False, header=bool(rows))

    def append(self, name: str, **row: float) -> None:
        if not self.rows[name]:
            print(*row, sep=",", file=self.files[name])
        print(*row.values(), sep=",", file=self.files[name])
        self.rows[name].append(row)


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
    with alone_with(folder / ".lock", f"folder={str(folder)!r}"):
        yield


@contextmanager
def alone_with(lock: Path, what: str) -> Iterator[None]:
    """One process at a time holds `lock`; of a process that is killed it is free again."""
    try:
        with FileLock(lock, timeout=0), ExitStack() as before_release:
            if os.name != "nt":  # Windows deletes no open file: there, filelock does it afterwards
                before_release.callback(lock.unlink, missing_ok=True)
            yield
    except Timeout:
        raise ValueError(f"{what} is in use, another process is training: name another.") from None


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
