"""One training loop for the whole course, short enough to read aloud.

Introduced in lesson 01; lesson 09 takes it apart.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from ..datasets import ImageSet, normalise
from ..measure import evaluation_mode
from ..progress import progress_bar
from .checkpoint import Checkpoint, fingerprint
from .log import Log, alone_in, in_one_sentence
from .processes import accelerator, in_processes, shard
from .recipe import OPTIMIZERS, Recipe


@dataclass
class History:
    """What a run wrote down: `batches` and `epochs`, one row each, as pandas tables."""

    batches: pd.DataFrame
    epochs: pd.DataFrame


def fit(
    model: nn.Module,
    train: ImageSet,
    test: ImageSet | None,
    recipe: Recipe | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    progress: bool = True,
) -> History:
    """Train `model` in place, where it is (CPU or GPU).

    Parameters
    ----------
    model : nn.Module
        Images (B, 3, H, W) in, one score per class (B, K) out.
    train : ImageSet
    test : ImageSet or None
        Measured after every epoch, and only measured: nothing is chosen by it. None if nobody looks at these figures;
        then `folder` has to be None as well.
    recipe : Recipe, optional
    seed : int, default 0
        Decides the order of the images, augmentation and dropout. The weights were drawn when you built `model`.
    folder : path, optional
        Where ``batches.csv`` and ``epochs.csv`` are written, line by line, and, after each epoch, the state of the run
        (``last.safetensors``) and the weights of the epoch that tested best (``best.safetensors``), while the run goes
        on. A run that was stopped, however, goes on from there when it is called again with the same arguments, and
        ends as if it had never been stopped; one that was finished is read back.
    progress : bool, default True

    Returns
    -------
    History

    Raises
    ------
    ValueError
        If `train` has fewer images than one batch, a batch cannot be shared evenly by the processes, `folder` holds
        another run or another process is training into it, or there is a `folder` and no `test`.
    FloatingPointError
        If the loss is no longer a number: the weights are those of the batch before, but batch norm has already
        counted this one. Or if the test loss or a weight is not finite after an epoch: `folder` keeps the one before.

    Notes
    -----
    Under ``accelerate launch`` or ``notebook_launcher`` the same call trains in several processes. Each holds all
    images, draws the same batch, and takes its share of it; the gradients are averaged. Without batch norm and
    dropout the weights are, up to rounding, those of a single process.
    """
    recipe = recipe or Recipe()
    per_epoch = len(train) // recipe.batch_size
    if per_epoch == 0:
        raise ValueError(f"train has {len(train)} images, fewer than batch_size={recipe.batch_size}: lower it.")
    if folder and test is None:
        raise ValueError(f"test=None, but folder={str(folder)!r} keeps the weights that test best: give a test set.")
    device = next(model.parameters()).device
    train, test = train.to(device), None if test is None else test.to(device)
    order = torch.Generator().manual_seed(seed)  # on the CPU: the same order on every device
    generator = torch.Generator(device).manual_seed(seed)
    optimizer = OPTIMIZERS[recipe.optimizer](
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = recipe.scheduler(optimizer, recipe.epochs * per_epoch)

    with (
        accelerator(device, recipe) as engine,
        alone_in(folder if engine.is_main_process else None),
        Log(folder, "batches", engine.is_main_process) as batches,
        Log(folder, "epochs", engine.is_main_process) as epochs,
        progress_bar(recipe.epochs * per_epoch, "training", progress and engine.is_main_process) as bar,
        in_one_sentence(recipe, batches.rows, folder),
    ):
        torch.manual_seed(seed + engine.process_index)  # dropout
        run = recipe.in_words() | {"seed": seed, "device": device.type}
        run |= fingerprint(model, train, test) if folder else {}
        checkpoint = Checkpoint(folder, run, model, optimizer, schedule, {"order": order, "augment": generator}, engine)
        done = checkpoint.load()
        batches.keep(done), epochs.keep(done), bar.update(done * per_epoch)
        if folder and not done:  # a run that is stopped in its first epoch starts from these weights again
            engine.wait_for_everyone()
            checkpoint.save(0, {}, best=False)
        network, stepper = in_processes(model, engine), engine.prepare_optimizer(optimizer)

        for epoch in range(done + 1, recipe.epochs + 1):
            start, seen = time.perf_counter(), len(batches.rows)
            learning_rate = optimizer.param_groups[0]["lr"]
            network.train()
            picks = torch.randperm(len(train), generator=order)[: per_epoch * recipe.batch_size]
            for pick in picks.split(recipe.batch_size):
                images, labels = train.images[pick], train.labels[pick]
                if recipe.augment:
                    images = recipe.augment(images, generator)
                targets = labels
                if recipe.mix:
                    images, targets = recipe.mix(images, labels, len(train.classes), generator)
                images, labels, targets = (shard(tensor, engine) for tensor in (images, labels, targets))
                with engine.autocast():
                    logits = network(prepare(images))
                loss = F.cross_entropy(logits.float(), targets, label_smoothing=recipe.label_smoothing)
                accuracy = (logits.argmax(1) == labels).float().mean()
                reached = engine.reduce(torch.stack([loss.detach(), accuracy]), "mean").tolist()
                if not math.isfinite(reached[0]):
                    raise FloatingPointError(f"the loss is {reached[0]}")
                stepper.zero_grad()
                engine.backward(loss)
                stepper.step()
                batches.row(
                    epoch=epoch,
                    batch=len(batches.rows) + 1,
                    learning_rate=optimizer.param_groups[0]["lr"],
                    loss=reached[0],
                    accuracy=reached[1],
                )
                if recipe.schedule == "cosine":
                    schedule.step()
                bar.update()
            trained = pd.DataFrame(batches.rows[seen:])[["loss", "accuracy"]].mean()
            if recipe.schedule == "step":
                schedule.step()
            elif recipe.schedule == "plateau":
                schedule.step(trained.loss)
            tested, best = {}, False
            if test is not None:
                tested = {f"test_{name}": value for name, value in evaluate(model, test).items()}
                best = all(tested["test_accuracy"] > row["test_accuracy"] for row in epochs.rows)
            must_be_finite(model, tested)  # no further batch looks at what the last one has done
            epochs.row(
                epoch=epoch,
                learning_rate=learning_rate,
                train_loss=trained.loss,
                train_accuracy=trained.accuracy,
                **tested,
                seconds=time.perf_counter() - start,
            )
            checkpoint.save(epoch, tested, best)
    return History(pd.DataFrame(batches.rows), pd.DataFrame(epochs.rows))


def must_be_finite(model: nn.Module, tested: dict[str, float]) -> None:
    """Stop a run whose last step has ruined the weights, before anything of it is kept."""
    if not math.isfinite(tested.get("test_loss", 0)):
        raise FloatingPointError(f"the test loss is {tested['test_loss']}")
    for name, weights in model.named_parameters():
        if not weights.isfinite().all():
            raise FloatingPointError(f"{name} is no longer finite")


def prepare(images: torch.Tensor) -> torch.Tensor:
    """uint8 images as the networks take them; channels last, because convolutions are faster so."""
    return normalise(images).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def predict(model: nn.Module, dataset: ImageSet, batch_size: int = 500) -> torch.Tensor:
    """Scores of every image, (n, K), in evaluation mode; the model is left in the mode it was in."""
    device = next(model.parameters()).device
    with evaluation_mode(model):
        return torch.cat([model(prepare(images.to(device))) for images in dataset.images.split(batch_size)])


def evaluate(model: nn.Module, dataset: ImageSet) -> dict[str, float]:
    """Mean cross-entropy ``loss`` and ``accuracy`` (0 to 1) over all images."""
    logits = predict(model, dataset)
    labels = dataset.labels.to(logits.device)
    return {
        "loss": F.cross_entropy(logits, labels).item(),
        "accuracy": (logits.argmax(1) == labels).float().mean().item(),
    }
