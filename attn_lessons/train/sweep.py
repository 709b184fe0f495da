"""Train mechanisms × seeds on each data set, and record one row per run in a CSV, with a JSON that says how.

Called again with the same arguments, it goes on where it was stopped; with more seeds or mechanisms, it adds rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from ..datasets import ImageSet
from ..training.checkpoint import image_fingerprints
from ..training.recording import pointing, record
from . import networks
from .findings import findings
from .options import UsageError, count, option, required
from .sets import photographs, puzzle
from .settings import VARIANTS, Training


@dataclass(kw_only=True)
class Settings(Training):
    attention: list[str] = option(f"mechanisms, {VARIANTS}", ("none", "se"), nargs="+")
    seeds: int = option("how many (default: 5)", 5, type=count)
    out: Path = required("CSV to write or to continue", type=Path)

    def __post_init__(self):
        super().__post_init__()
        if self.validation and (self.test or self.data):
            raise UsageError("a sweep chooses no epoch: --validation is for images of yours without a --test.")
        self.out = self.out if self.out.suffix == ".csv" else self.out.with_name(self.out.name + ".csv")


def main(settings: Settings) -> None:
    settings.check(*settings.attention)
    data, alike = drawn_by_seed(settings)
    train, _ = next(iter(data.values()))(0)
    recipe = settings.recipe(len(train))
    about = settings.about(recipe) | {"seeds": settings.seeds}
    about["settings"] |= alike
    describe = partial(networks.describe, num_classes=len(train.classes), settings=settings)
    variants = {name: partial(networks.build, describe(name), settings) for name in settings.attention}
    score = pointing if settings.network == "glyph_net" and settings.puzzles else None
    runs = f"{len(variants)} variants × {settings.seeds} seeds × {len(data)} set(s) of {len(train):,} images"
    print(
        f"{runs}: {recipe.epochs} epochs with {recipe.batch_size} images a step, on the {settings.device.type.upper()}."
    )
    try:
        record(settings.out, variants, data, recipe, settings.seeds, about, score)
    except KeyboardInterrupt:
        kept = f"{settings.out} keeps the rows of the runs that have ended"
        raise KeyboardInterrupt(f"The sweep was stopped. {kept}; the same command goes on.") from None
    tell(settings.out)


def tell(out: Path) -> None:
    """Print what was found, with its uncertainty, and draw it beside the table."""
    runs = pd.read_csv(out, dtype={"data": str, "variant": str}, keep_default_na=False)
    print(findings(runs).to_string(float_format="{:.3f}".format, index=False, na_rep=""))
    if runs.seed.nunique() == 1:
        print("One seed says nothing about luck: --seeds 5 gives intervals.")
        return
    from .drawings import draw_findings

    picture = out.with_name(f"{out.stem}_summary.png")
    draw_findings(runs, picture)
    print(f"{out} · {picture}")


def drawn_by_seed(settings: Settings) -> tuple[dict[str, Callable[[int], tuple[ImageSet, ImageSet]]], dict[str, str]]:
    """Name → a function: seed → images to train on and images to measure on; and what tells these from others."""
    if settings.puzzles:  # a puzzle's name and number of images tell it from others
        return {name: partial(of_a_puzzle, name, settings) for name in settings.puzzles}, {}
    sets = photographs(settings)
    measured = sets.validation if sets.test is None else sets.test

    def draw(seed: int) -> tuple[ImageSet, ImageSet]:
        return sets.some(settings.images, seed).train, measured

    return {sets.train.name: draw}, image_fingerprints(sets.train, measured)


def of_a_puzzle(name: str, settings: Settings, seed: int) -> tuple[ImageSet, ImageSet]:
    sets = puzzle(name, settings.images, seed)
    return sets.train, sets.test
