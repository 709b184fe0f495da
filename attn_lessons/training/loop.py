"""One training loop for the whole course, short enough to read aloud.

Introduced in lesson 01; lesson 09 takes it apart.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from ..datasets import ImageSet, as_image_set, normalise
from ..measure import evaluation_mode
from ..models.description import normalisation
from ..models.weights import LAST
from ..progress import progress_bar
from .checkpoint import Checkpoint, image_fingerprints, network_fingerprint
from .log import Log, alone_in, in_one_sentence
from .processes import start_accelerator
from .recipe import OPTIMIZERS, Recipe


class History(NamedTuple):
    """The log of a run as pandas tables: `batches`, one row per batch, and `epochs`, one row per epoch."""

    batches: pd.DataFrame
    epochs: pd.DataFrame


def fit(
    model: nn.Module, train: ImageSet, test: ImageSet | None, recipe: Recipe | None = None, seed: int = 0,
    folder: str | Path | None = None, progress: bool = True, validation: ImageSet | None = None,
    after_epoch: Callable[[dict[str, float]], None] | None = None,
) -> History:  # fmt: skip
    """Train `model` in place, on its device.

    Parameters
    ----------
    model : nn.Module
        Images (B, 3, H, W) → logits (B, K).
    train : ImageSet, or map-style dataset of (image, label)
        See `attn_lessons.datasets.as_image_set`. So may be `test` and `validation`.
    test : ImageSet or None
        Measured after every epoch, and only measured: nothing is chosen by it. None if these figures are not needed.
    recipe : Recipe, optional
    seed : int, default 0
        Seeds the order of the images, augmentation and dropout. The weights were drawn when you built `model`.
    folder : path, optional
        Where ``batches.csv`` and ``epochs.csv`` are written line by line during the run, after each epoch the state
        of the run (``last.pt``), and at the end its weights (``last.safetensors``, for `attn_lessons.models.trained`).
        A run that was stopped, however, continues from there when it is called again with the
        same arguments, and ends as if it had never been stopped; a finished one is read back.
    progress : bool, default True
    validation : ImageSet, optional
        Measured after every epoch. The weights of the epoch that does best on it are kept in `folder` as well
        (``best.safetensors``).
    after_epoch : callable, optional
        Called with the row of each epoch that has ended.

    Returns
    -------
    History

    Raises
    ------
    ValueError
        If `train` has fewer images than one batch, a batch cannot be shared evenly by the processes, or `folder` holds
        another run or another process is training into it.
    FloatingPointError
        If the loss is no longer a number: the weights are those of the batch before, but batch norm has already
        counted this one. Or if the test loss or a weight is not finite after an epoch: `folder` keeps the one before.

    Notes
    -----
    Under ``accelerate launch`` or ``notebook_launcher`` the same call trains in several processes. Each holds all
    images, draws the same batch, and takes its part of it; the gradients are averaged. Without batch norm and
    dropout the weights are, up to rounding, those of a single process.
    """
    recipe, train = recipe or Recipe(), as_image_set(train)
    per_epoch = len(train) // recipe.batch_size
    if per_epoch == 0:
        raise ValueError(f"train has {len(train)} images, fewer than batch_size={recipe.batch_size}: lower it.")
    folder = Path(folder) if folder else None
    device = next(model.parameters()).device
    train = train.to(device)
    others = {"validation": validation, "test": test}
    others = {name: as_image_set(images).to(device) for name, images in others.items() if images is not None}
    model.about = getattr(model, "about", {}) | what_it_saw(train)
    shuffling = torch.Generator().manual_seed(seed)  # on the CPU: the same order on every device
    augmentation = torch.Generator(device).manual_seed(seed)
    rates = {"lr": float(recipe.learning_rate), "weight_decay": float(recipe.weight_decay)}
    optimizer = OPTIMIZERS[recipe.optimizer](model.parameters(), **rates, fused=True)  # all parameters in one step
    scheduler = recipe.scheduler(optimizer, recipe.epochs * per_epoch)

    with (
        start_accelerator(device, recipe) as accelerator,
        alone_in(written := folder if accelerator.is_main_process else None),
        Log(written) as log,
        progress_bar(recipe.epochs * per_epoch, "training", progress and accelerator.is_main_process) as bar,
        in_one_sentence(recipe, log.rows["batches"], folder),
    ):
        torch.manual_seed(seed + accelerator.process_index)  # dropout
        optimizer = accelerator.prepare_optimizer(optimizer)  # scales the gradients of fp16
        run = recipe.in_words() | {"seed": seed, "device": device.type}
        if folder:
            run |= {"network": network_fingerprint(model)} | image_fingerprints(train, **others)
            run |= {"init": model.about["init"]} if "init" in model.about else {}
        parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
        generators = {"order": shuffling, "augment": augmentation}
        checkpoint = Checkpoint(folder, run, parts, generators, log.rows, accelerator)
        done = checkpoint.load()
        log.start(), bar.update(done * per_epoch)
        accelerator.wait_for_everyone()
        checkpoint.save()  # a run that is stopped in its first epoch starts from these weights again
        processes = accelerator.num_processes
        network = nn.parallel.DistributedDataParallel(model) if processes > 1 else model  # averages the gradients
        mine = slice(accelerator.process_index, None, processes)  # this process's images of a batch

        for epoch in range(done + 1, recipe.epochs + 1):
            start, learning_rate = time.perf_counter(), optimizer.param_groups[0]["lr"]
            network.train()
            order = torch.randperm(len(train), generator=shuffling)[: per_epoch * recipe.batch_size]
            for indices in order.split(recipe.batch_size):
                images, labels = train.images[indices], train.labels[indices]
                targets = labels
                if recipe.augment:
                    images = recipe.augment(images, augmentation)
                if recipe.mix:
                    images, targets = recipe.mix(images, labels, len(train.classes), augmentation)
                with accelerator.autocast():
                    logits = network(prepare(images[mine], model))
                loss = F.cross_entropy(logits.float(), targets[mine], label_smoothing=recipe.label_smoothing)
                accuracy = (logits.argmax(1) == labels[mine]).float().mean()
                measured = accelerator.reduce(torch.stack([loss.detach(), accuracy]), "mean").tolist()
                if not math.isfinite(measured[0]):
                    raise FloatingPointError(f"the loss is {measured[0]}")
                optimizer.zero_grad()
                accelerator.backward(loss)
                optimizer.step()
                row = {
                    "epoch": epoch,
                    "batch": len(log.rows["batches"]) + 1,
                    "learning_rate": optimizer.param_groups[0]["lr"],
                }
                log.append("batches", **row, loss=measured[0], accuracy=measured[1])
                if recipe.schedule != "plateau":
                    scheduler.step()
                bar.update()

            trained = pd.DataFrame(log.rows["batches"][-per_epoch:])[["loss", "accuracy"]].mean().to_dict()
            if recipe.schedule == "plateau":
                scheduler.step(trained["loss"])
            figures = {"train": trained} | {name: evaluate(model, images) for name, images in others.items()}
            must_be_finite(model, figures)  # no further batch would reveal what the last step has done
            row = {"epoch": epoch, "learning_rate": learning_rate}
            row |= {f"{name}_{what}": value for name, two in figures.items() for what, value in two.items()}
            log.append("epochs", **row, seconds=time.perf_counter() - start)
            checkpoint.save()
            if after_epoch and accelerator.is_main_process:
                after_epoch(log.rows["epochs"][-1])
        checkpoint.keep(LAST)
    return History(*map(pd.DataFrame, log.rows.values()))


def must_be_finite(model: nn.Module, figures: dict[str, dict[str, float]]) -> None:
    """Stop a run whose last step has ruined the weights, before anything of it is kept."""
    for name, figure in figures.items():
        if not math.isfinite(figure["loss"]):
            raise FloatingPointError(f"the {name} loss is {figure['loss']}")
    if not all(weights.isfinite().all() for weights in model.parameters()):
        raise FloatingPointError("a weight is no longer finite")


def what_it_saw(images: ImageSet) -> dict[str, object]:
    """What a file of weights has to say so that somebody can use it."""
    return {"classes": list(images.classes), "size": list(images.images.shape[2:]), "dataset": images.name}


def prepare(images: torch.Tensor, model: nn.Module | None = None) -> torch.Tensor:
    """uint8 images → the normalised input of a network, channels last, because convolutions are faster so.

    The mean and standard deviation are those of ``model.about``, if they came with its weights, otherwise 0.5 and 0.25.
    """
    return normalise(images, *normalisation(model)).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def predict(model: nn.Module, dataset: ImageSet, batch_size: int = 500) -> torch.Tensor:
    """Logits of every image, (n, K), in evaluation mode; the model is left in the mode it was in."""
    device, dataset = next(model.parameters()).device, as_image_set(dataset)
    with evaluation_mode(model):
        return torch.cat([model(prepare(images.to(device), model)) for images in dataset.images.split(batch_size)])


def evaluate(model: nn.Module, dataset: ImageSet) -> dict[str, float]:
    """Mean cross-entropy ``loss`` and ``accuracy`` (0 to 1) over all images."""
    dataset = as_image_set(dataset)
    logits = predict(model, dataset)
    labels = dataset.labels.to(logits.device)
    accuracy = (logits.argmax(1) == labels).float().mean()
    return {"loss": F.cross_entropy(logits, labels).item(), "accuracy": accuracy.item()}
