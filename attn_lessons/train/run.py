"""Train one network: its logs, its state after each epoch and its weights stay in a folder; a stopped run goes on.

With a validation set, the best epoch by it is kept as well. The test set chooses nothing.
"""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from accelerate import PartialState

from ..datasets import ImageSet
from ..models.weights import LAST, weights_and_about
from ..training import fit, predict, save_weights
from . import networks
from .announcement import announcement, say_epoch
from .files import must_be_new
from .options import UsageError, option, required
from .sets import Sets, photographs, puzzle
from .settings import VARIANTS, Training


@dataclass(kw_only=True)
class Settings(Training):
    attention: str = option(f"mechanism, {VARIANTS}", "none")
    seed: int = option("of weights, order and augmentation", 0, type=int)
    folder: Path = required("of the logs and weights; a stopped run continues", type=Path)
    weights: Path | None = option("a safetensors file for the finished network; its epochs beside it", type=Path)

    def __post_init__(self):
        super().__post_init__()
        if self.data and len(self.data) > 1:
            raise UsageError(f"--data {' '.join(self.data)}: a run is on one of them, a sweep on several.")
        if self.weights and self.weights.suffix != ".safetensors":
            raise UsageError(f"--weights {self.weights} must end in .safetensors.")


def main(settings: Settings) -> None:
    if settings.weights:
        must_be_new(settings.weights, "--weights")
        must_be_new(settings.weights.with_suffix(".csv"), "--weights")
    must_not_have_ended_otherwise(settings)
    settings.check(settings.attention)
    sets = images(settings)
    recipe = settings.recipe(len(sets.train))
    torch.manual_seed(settings.seed)
    model = networks.build(networks.describe(settings.attention, len(sets.train.classes), settings), settings)
    model.about |= settings.about(recipe) | {"seed": settings.seed, "attention": settings.attention}
    first = PartialState().is_main_process
    if first:
        print(announcement(model, sets, recipe, settings))
    say = partial(say_epoch, of=recipe.epochs)
    bar = sys.stdout.isatty()
    log = fit(model, sets.train, sets.test, recipe, settings.seed, settings.folder, bar, sets.validation, say)
    if first:
        finish(model, sets, log.epochs, settings)


def images(settings: Settings) -> Sets:
    if settings.puzzles:
        return puzzle(settings.puzzles[0], settings.images, settings.seed, settings.validation)
    return photographs(settings).some(settings.images, settings.seed)


def must_not_have_ended_otherwise(settings: Settings) -> None:
    """Refuse a folder whose run has ended after another number of epochs, and say how to train on."""
    if settings.folder.is_file():
        raise ValueError(f"--folder {settings.folder} is a file: name a folder, new or with a run of these settings.")
    try:
        ended = weights_and_about(settings.folder / LAST)[1]["run"]["epochs"]
    except (FileNotFoundError, ValueError):  # it has not ended, or its file is damaged and will be written anew
        return
    if ended != settings.recipe().epochs:
        has = f"{settings.folder} holds a run of {ended} epochs, and this one has {settings.recipe().epochs}"
        raise ValueError(f"{has}: to train on from there, name another --folder and say --init {settings.folder}.")


def finish(model: torch.nn.Module, sets: Sets, epochs: pd.DataFrame, settings: Settings) -> None:
    """Measure the weights that stay, each image on its own, and write them where they were wanted."""
    weights, about = weights_and_about(settings.folder)
    model.load_state_dict(weights)
    measured = {name: some for name in ("validation", "test") if (some := getattr(sets, name)) is not None}
    answers = pd.concat([answers_to(model, some).assign(set=name) for name, some in measured.items()])
    answers.to_csv(settings.folder / "predictions.csv", index=False, float_format="%.4f")
    for name, rows in answers.groupby("set"):
        right = f"{100 * (rows.label == rows.predicted).mean():.2f} % of {len(rows):,} {name} images right"
        chosen = ", which these images have chosen" if name == "validation" else ""
        print(f"{sets.train.name}: {right} after epoch {about['epoch']}{chosen}.")
    if settings.weights:
        figures = {name: round(value, 4) for name, value in about.items() if name.endswith("_accuracy")}
        save_weights(model, settings.weights, figures | {"epoch": about["epoch"]})
        epochs.to_csv(settings.weights.with_suffix(".csv"), index=False, float_format="%.4g")


def answers_to(model: torch.nn.Module, images: ImageSet) -> pd.DataFrame:
    """What the network says to each image: its file, if it has one, label, predicted class, its probability."""
    probability, predicted = (best.tolist() for best in predict(model, images).softmax(1).max(1))
    label, predicted = ([images.classes[i] for i in of] for of in (images.labels.tolist(), predicted))
    files = images.files or [""] * len(images)
    return pd.DataFrame({"file": files, "label": label, "predicted": predicted, "probability": probability})
