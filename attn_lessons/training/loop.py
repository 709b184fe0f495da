"""One training loop for the whole course, short enough to read aloud.

Introduced in lesson 01; lesson 09 takes it apart.
"""

from __future__ import annotations

import csv
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, MultiStepLR, ReduceLROnPlateau
from tqdm import tqdm

from ..datasets import ImageSet, normalise
from ..measure import evaluation_mode
from .checkpoint import Checkpoint

OPTIMIZERS = {  # fused: all parameters in one step, which matters for networks as small as these
    "adam": partial(Adam, fused=True),
    "adamw": partial(AdamW, fused=True),
    "sgd": partial(SGD, momentum=0.9, nesterov=True, fused=True),
}
SCHEDULES = ("cosine", "step", "plateau")


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Parameters
    ----------
    epochs : int, default 10
    batch_size : int, default 64
        A last, smaller batch is left out of its epoch.
    optimizer : {"adamw", "adam", "sgd"}, default "adamw"
        "sgd" has Nesterov momentum 0.9.
    learning_rate : float, default 8e-3
        The highest of the run.
    weight_decay : float, default 1e-2
    schedule : {"cosine", "step", "plateau"}, default "cosine"
        "cosine" rises for the first quarter of the batches and falls to zero over the rest; "step" divides by 10 after
        one and after two thirds of the epochs; "plateau" divides by 10 after the third epoch in which the training loss
        has not fallen.
    augment : callable, optional
        Called as ``augment(images, generator)`` with the uint8 images of each training batch, on their device.
    """

    epochs: int = 10
    batch_size: int = 64
    optimizer: str = "adamw"
    learning_rate: float = 8e-3
    weight_decay: float = 1e-2
    schedule: str = "cosine"
    augment: Callable[[torch.Tensor, torch.Generator], torch.Tensor] | None = None

    def __post_init__(self):
        for argument, allowed in (("optimizer", tuple(OPTIMIZERS)), ("schedule", SCHEDULES)):
            if getattr(self, argument) not in allowed:
                raise ValueError(f"{argument}={getattr(self, argument)!r} is not known: choose one of {allowed}.")
        for argument in ("epochs", "batch_size"):
            if getattr(self, argument) < 1:
                raise ValueError(f"{argument}={getattr(self, argument)} must be at least 1.")

    def in_words(self) -> dict[str, object]:
        """Every setting, as JSON can hold it."""
        return {name: getattr(value, "__name__", value) for name, value in vars(self).items()}

    def scheduler(self, optimizer: Optimizer, batches: int) -> LambdaLR | MultiStepLR | ReduceLROnPlateau:
        """`batches` is the number of training steps of the whole run."""
        if self.schedule == "step":
            thirds = [math.ceil(self.epochs / 3), math.ceil(2 * self.epochs / 3)]
            return MultiStepLR(optimizer, thirds, 0.1)
        if self.schedule == "plateau":
            return ReduceLROnPlateau(optimizer, factor=0.1, patience=2)
        rise = torch.linspace(0, 1, batches // 4 + 2)[1:-1]
        fall = (1 + torch.cos(torch.pi * torch.linspace(0, 1, batches - len(rise) + 1))) / 2
        curve = torch.cat([rise, fall]).tolist()
        return LambdaLR(optimizer, lambda step: curve[step])


@dataclass
class History:
    """What a run wrote down: `batches` and `epochs`, one row each, as pandas tables."""

    batches: pd.DataFrame
    epochs: pd.DataFrame


def fit(
    model: nn.Module,
    train: ImageSet,
    test: ImageSet,
    recipe: Recipe | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    progress: bool = True,
) -> History:
    """Train `model` in place, where it is (CPU or GPU).

    Parameters
    ----------
    model : nn.Module
        Pictures (B, 3, H, W) in, one score per class (B, K) out.
    train, test : ImageSet
        The test set is only ever measured: nothing is chosen by it.
    recipe : Recipe, optional
    seed : int, default 0
        Decides the order of the pictures, augmentation and dropout. The weights were drawn when you built `model`.
    folder : path, optional
        Where ``batches.csv`` and ``epochs.csv`` are written, line by line, and the state after each epoch, while the
        run goes on. A run that was stopped, however, goes on from there when it is called again with the same
        arguments, and ends as if it had never been stopped; one that was finished is read back.
    progress : bool, default True

    Returns
    -------
    History

    Raises
    ------
    ValueError
        If `train` has fewer pictures than one batch, or `folder` holds another run.
    FloatingPointError
        If the loss is no longer a number; the weights are those of the batch before.
    """
    recipe = recipe or Recipe()
    per_epoch = len(train) // recipe.batch_size
    if per_epoch == 0:
        raise ValueError(f"train has {len(train)} pictures, fewer than batch_size={recipe.batch_size}: lower it.")
    device = next(model.parameters()).device
    train, test = train.to(device), test.to(device)
    torch.manual_seed(seed)  # dropout
    order = torch.Generator().manual_seed(seed)  # on the CPU: the same order on every device
    dice = torch.Generator(device).manual_seed(seed)
    optimizer = OPTIMIZERS[recipe.optimizer](
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = recipe.scheduler(optimizer, recipe.epochs * per_epoch)
    run = recipe.in_words() | {"seed": seed, "pictures": train.name, "number of pictures": len(train)}
    checkpoint = Checkpoint(folder, run, model, optimizer, schedule, {"order": order, "augment": dice})
    done = checkpoint.load()

    with (
        Log(folder, "batches", done) as batches,
        Log(folder, "epochs", done) as epochs,
        progress_bar(recipe.epochs * per_epoch, "training", progress) as bar,
        in_one_sentence(recipe, batches.rows, folder),
    ):
        bar.update(done * per_epoch)
        for epoch in range(done + 1, recipe.epochs + 1):
            start, seen = time.perf_counter(), len(batches.rows)
            learning_rate = optimizer.param_groups[0]["lr"]
            model.train()
            picks = torch.randperm(len(train), generator=order)[: per_epoch * recipe.batch_size]
            for pick in picks.split(recipe.batch_size):
                images, labels = train.images[pick], train.labels[pick]
                if recipe.augment:
                    images = recipe.augment(images, dice)
                scores = model(prepare(images))
                loss = F.cross_entropy(scores, labels)
                if not loss.isfinite():
                    raise FloatingPointError(f"the loss is {loss.item()}")
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                batches.row(
                    epoch=epoch,
                    batch=len(batches.rows) + 1,
                    learning_rate=optimizer.param_groups[0]["lr"],
                    loss=loss.item(),
                    accuracy=(scores.argmax(1) == labels).float().mean().item(),
                )
                if recipe.schedule == "cosine":
                    schedule.step()
                bar.update()
            trained = pd.DataFrame(batches.rows[seen:])[["loss", "accuracy"]].mean()
            if recipe.schedule == "step":
                schedule.step()
            elif recipe.schedule == "plateau":
                schedule.step(trained.loss)
            tested = evaluate(model, test)
            epochs.row(
                epoch=epoch,
                learning_rate=learning_rate,
                train_loss=trained.loss,
                train_accuracy=trained.accuracy,
                test_loss=tested["loss"],
                test_accuracy=tested["accuracy"],
                seconds=time.perf_counter() - start,
            )
            checkpoint.save(epoch)
    return History(pd.DataFrame(batches.rows), pd.DataFrame(epochs.rows))


def prepare(images: torch.Tensor) -> torch.Tensor:
    """uint8 pictures as the networks take them; channels last, because convolutions are faster so."""
    return normalise(images).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def predict(model: nn.Module, pictures: ImageSet, batch_size: int = 500) -> torch.Tensor:
    """Scores of every picture, (n, K), in evaluation mode; the model is left in the mode it was in."""
    device = next(model.parameters()).device
    with evaluation_mode(model):
        return torch.cat([model(prepare(images.to(device))) for images in pictures.images.split(batch_size)])


def evaluate(model: nn.Module, pictures: ImageSet) -> dict[str, float]:
    """Mean cross-entropy ``loss`` and ``accuracy`` (0 to 1) over all pictures."""
    scores = predict(model, pictures)
    labels = pictures.labels.to(scores.device)
    return {
        "loss": F.cross_entropy(scores, labels).item(),
        "accuracy": (scores.argmax(1) == labels).float().mean().item(),
    }


@contextmanager
def in_one_sentence(recipe: Recipe, batches: list[dict], folder: str | Path | None) -> Iterator[None]:
    """What stopped the training, where, and what to do next."""
    try:
        yield
    except (KeyboardInterrupt, FloatingPointError, torch.cuda.OutOfMemoryError) as error:
        at = f"after batch {batches[-1]['batch']} (epoch {batches[-1]['epoch']})" if batches else "in its first batch"
        if isinstance(error, KeyboardInterrupt):
            again = "starts anew" if folder is None else f"goes on after the last whole epoch, kept in {folder}"
            text = f"Training was stopped {at}. The model keeps what it has learned; the same call {again}."
        elif isinstance(error, FloatingPointError):
            rate = recipe.learning_rate
            text = f"Training stopped {at}, since {error}: try a learning_rate lower than {rate:g}, {rate / 4:g} say."
        else:
            text = f"The GPU's memory is full {at}: try a batch_size lower than {recipe.batch_size}."
        raise type(error)(text) from None


class Log:
    """Rows of a run, kept, and written to ``folder/name.csv`` as they come, so that a killed run leaves its rows.

    Rows that the file already has are kept if they are of the first `done` epochs; others are cut off, since that
    epoch is done again.
    """

    def __init__(self, folder: str | Path | None, name: str, done: int = 0):
        self.rows: list[dict] = []
        self.file = None
        if folder is not None:
            path = Path(folder) / f"{name}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            self.file = open(path, "a+" if done else "w", newline="", buffering=1)  # noqa: SIM115
            if done:
                self.file.seek(0)
                title, *lines = (line for line in self.file.readlines() if line.endswith("\n"))
                kept = [title, *(line for line in lines if int(line.partition(",")[0]) <= done)]
                self.rows = [{name: number(text) for name, text in row.items()} for row in csv.DictReader(kept)]
                self.file.truncate(sum(map(len, kept)))

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


def progress_bar(total: int, text: str, show: bool = True) -> tqdm:
    """A bar that is plain text and goes away when it is done: a saved notebook keeps no half-full bar."""
    return tqdm(total=total, desc=text, disable=not show, leave=False, file=sys.stdout, ncols=88)
