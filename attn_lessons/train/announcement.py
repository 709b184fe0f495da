"""What a run says: first what will happen, then a line per epoch."""

import torch
from tqdm import tqdm

from ..measure import parameters
from ..training import Recipe
from .sets import Sets
from .settings import Training


def announcement(model: torch.nn.Module, sets: Sets, recipe: Recipe, settings: Training) -> str:
    """What will happen, before it does."""
    steps, left_out = divmod(len(sets.train), recipe.batch_size)
    rate = f"learning rate {recipe.learning_rate:.3g}, {recipe.schedule}, {recipe.precision}"
    lines = {
        "network": f"{settings.network}, attention {model.about['attention']}, {parameters(model):,} parameters",
        "images": in_numbers(sets, settings.size),
        "classes": in_names(sets),
        "recipe": f"{recipe.optimizer}, {rate}, on the {settings.device.type.upper()}",
        "steps": f"{recipe.epochs} epochs of {steps} steps with {recipe.batch_size} images: {recipe.epochs * steps:,}",
    }
    if left_out:
        lines["steps"] += f"; each epoch leaves {left_out} images out, by chance"
    if settings.init:
        lines["begins"] = f"with {model.about['init']}; new: {some_of(model.about['left_as_built']) or 'nothing'}"
    if sets.validation is None:
        lines["best"] = "no epoch is chosen: there is no --validation"
    return "\n".join(f"{name:8} {text}" for name, text in lines.items())


def in_numbers(sets: Sets, size: int) -> str:
    others = {"to choose the epoch by": sets.validation, "to test on": sets.test}
    counts = [f"{len(images):,} {what}" for what, images in others.items() if images is not None]
    return ", ".join([f"{sets.train.name} of {size}×{size}: {len(sets.train):,} to train on", *counts])


def in_names(sets: Sets) -> str:
    """The classes, and how many images to train on they have."""
    each = torch.bincount(sets.train.labels, minlength=len(sets.train.classes))
    number = f"{each.min():,}" if each.min() == each.max() else f"{each.min():,} to {each.max():,}"
    return f"{len(each)}: {some_of(sets.train.classes)}, {number} images each"


def some_of(names: list[str] | tuple[str, ...], most: int = 6) -> str:
    return ", ".join(names[:most]) + " …" * (len(names) > most)


def say_epoch(row: dict[str, float], of: int) -> None:
    """One line after an epoch."""
    accuracies = {name: row.get(f"{name}_accuracy") for name in ("train", "validation", "test")}
    right = "  ".join(f"{name} {100 * value:5.1f} %" for name, value in accuracies.items() if value is not None)
    epoch = f"epoch {row['epoch']:>{len(str(of))}}/{of}"
    tqdm.write(f"{epoch}  {right}  loss {row['train_loss']:.3f}  {row['seconds']:.1f} s")
