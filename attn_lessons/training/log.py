"""What a run says while it goes on: rows in files, and one sentence if it is stopped."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ..lock import alone
from .recipe import Recipe


@contextmanager
def in_one_sentence(recipe: Recipe, batches: list[dict], folder: str | Path | None) -> Iterator[None]:
    """What stopped the training, where, and what to do next."""
    try:
        yield
    except (KeyboardInterrupt, FloatingPointError, torch.cuda.OutOfMemoryError) as error:
        at = f"after batch {batches[-1]['batch']} (epoch {batches[-1]['epoch']})" if batches else "in its first batch"
        if isinstance(error, KeyboardInterrupt):
            first = not batches or batches[-1]["epoch"] == 1
            whence = "begins again with the first weights" if first else "goes on after the last whole epoch"
            again = "starts anew" if folder is None else f"{whence}, kept in {folder}"
            text = f"Training was stopped {at}. The model keeps what it has learned; the same call {again}."
        elif isinstance(error, FloatingPointError):
            rate = recipe.learning_rate
            text = f"Training stopped {at}, since {error}: try a learning_rate lower than {rate:g}, {rate / 4:g} say."
        else:
            text = f"The GPU's memory is full {at}: try a batch_size lower than {recipe.batch_size}."
        raise type(error)(text) from None


@contextmanager
def alone_in(folder: str | Path | None) -> Iterator[None]:
    """One run at a time writes into `folder`; another one is refused before it has written anything."""
    if folder is None:
        yield
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    with alone(Path(folder) / ".lock") as free:
        if not free:
            raise ValueError(
                f"folder={str(folder)!r} is in use, another process is training into it: wait for its end, or name "
                f"another folder."
            )
        yield


class Log:
    """Rows of a run, kept, and written to ``folder/name.csv`` as they come, so that a killed run leaves its rows."""

    def __init__(self, folder: str | Path | None, name: str, write: bool = True):
        self.rows: list[dict] = []
        self.path = None if folder is None else Path(folder) / f"{name}.csv"
        self.write, self.file = write and folder is not None, None

    def keep(self, done: int) -> None:
        """Open the file. Its rows are taken over if they are of the first `done` epochs; the others are cut off, since
        those epochs are done again."""
        lines: list[str] = []
        if done and self.path:
            if not self.path.exists():
                raise ValueError(f"{self.path} is gone, but not the run's state: delete its folder to start anew.")
            title, *rest = (line for line in self.path.read_bytes().decode().splitlines(True) if line.endswith("\n"))
            lines = [title, *(line for line in rest if int(line.partition(",")[0]) <= done)]
            self.rows += [{name: number(text) for name, text in row.items()} for row in csv.DictReader(lines)]
        if self.write:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.file = open(self.path, "a" if done else "w", newline="", buffering=1)  # noqa: SIM115
            self.file.truncate(sum(map(len, lines)))

    def row(self, **values) -> None:
        if self.file:
            writer = csv.DictWriter(self.file, values)
            if not self.rows:
                writer.writeheader()
            writer.writerow(values)
        self.rows.append(values)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *exception) -> None:
        if self.file:
            self.file.close()


def number(text: str) -> int | float:
    return int(text) if text.isdigit() else float(text)
