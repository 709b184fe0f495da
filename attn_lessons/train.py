"""Record runs into ``results/``: ``python -m attn_lessons.train --help``.

Writes one CSV row a run, as soon as the run is done, and a JSON beside it that says how the rows were made. Called
again with the same arguments, it goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import ast
import csv
import datetime
import inspect
import json
import os
import platform
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from . import __version__
from .attention import MECHANISMS, watch
from .datasets import PUZZLES, ImageSet, glyphworld, image_folder, random_crop, random_flip
from .insight import place_map, pointing_game
from .measure import latency
from .models import GlyphNet, SmallCNN
from .training import Recipe, prepare, progress_bar, train_once

GLYPHWORLD_RECIPE = Recipe(epochs=10, batch_size=64, optimizer="adamw", learning_rate=8e-3, weight_decay=1e-2)
GLYPHWORLD_TRAIN, GLYPHWORLD_TEST = 4000, 2000  # pictures
TEST_SEED = 999  # no training set has it
Case = tuple[str, int, Callable[[], tuple[ImageSet, ImageSet]]]  # what the pictures are called, seed, the pictures


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if options.kind == "glyphworld":
        cases = list(glyphworld_cases(options))
        recipe = replace(GLYPHWORLD_RECIPE, learning_rate=options.learning_rate)
        arms = {arm: partial(glyph_net, arm, options.reduction, device) for arm in options.attention}
        score = pointing
    else:
        train, test = image_folder(options.train, 32), image_folder(options.test, 32)
        if train.classes != test.classes:
            raise ValueError(f"--train and --test must hold the same classes: {train.classes} and {test.classes}.")
        cases, recipe = list(photograph_cases(train, test, options)), photograph_recipe(options.epochs)
        sizes = len(train.classes), options.reduction
        arms = {arm: partial(small_cnn, arm, *sizes, device) for arm in options.attention}
        score = no_score
    for build in arms.values():
        build()  # a misspelt mechanism is found now, before anything is written
    write_header(sys.argv[1:] if arguments is None else arguments, options, recipe, device)
    record(options.out, cases, arms, recipe, score)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m attn_lessons.train", description=__doc__.split("\n\n")[1])
    kinds = parser.add_subparsers(dest="kind", required=True)
    puzzles = kinds.add_parser("glyphworld", help="GlyphNet on GlyphWorld puzzles")
    puzzles.add_argument("--puzzles", nargs="+", choices=list(PUZZLES), default=list(PUZZLES))
    puzzles.add_argument("--pictures", type=int, default=GLYPHWORLD_TRAIN, help="to train on (default: %(default)s)")
    puzzles.add_argument("--learning-rate", type=float, default=GLYPHWORLD_RECIPE.learning_rate)
    photographs = kinds.add_parser("photographs", help="SmallCNN on pictures of yours, 32×32")
    photographs.add_argument("--train", required=True, help="folder or zip with one folder of pictures per class")
    photographs.add_argument("--test", required=True, help="the same, for testing")
    photographs.add_argument("--name", required=True, help="what the pictures are called in the results")
    photographs.add_argument("--pictures", type=int, help="train on so many of them, chosen by the seed (default: all)")
    photographs.add_argument("--epochs", type=int, default=12)
    for kind in (puzzles, photographs):
        kind.add_argument(
            "--attention",
            nargs="+",
            default=["none", "se"],
            help="mechanisms, with options where they differ from the default: deformable:offset_range=0,heads=8; "
            "far-sighted is a control",
        )
        kind.add_argument("--reduction", type=int, default=4, help="of the mechanisms that have one (default: 4)")
        kind.add_argument("--seeds", type=int, default=5)
        kind.add_argument("--threads", type=int, default=torch.get_num_threads())
        kind.add_argument("--out", type=Path, required=True, help="the CSV to write or to continue")
    return parser.parse_args(arguments)


def glyphworld_cases(options: argparse.Namespace) -> Iterator[Case]:
    for seed in range(options.seeds):  # all puzzles of one seed first: a recording that was stopped is still balanced
        for puzzle in options.puzzles:
            yield puzzle, seed, partial(glyphworld_pair, puzzle, options.pictures, seed)


def glyphworld_pair(puzzle: str, pictures: int, seed: int) -> tuple[ImageSet, ImageSet]:
    return glyphworld(puzzle, pictures, seed), glyphworld(puzzle, GLYPHWORLD_TEST, TEST_SEED)


def photograph_cases(train: ImageSet, test: ImageSet, options: argparse.Namespace) -> Iterator[Case]:
    for seed in range(options.seeds):
        chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[: options.pictures]
        yield options.name, seed, lambda chosen=chosen: (train[chosen], test)


def photograph_recipe(epochs: int) -> Recipe:
    """Adam and ReduceLROnPlateau, as the tutorial has it, with shifted and mirrored pictures."""
    return Recipe(epochs, 64, "adam", 1e-3, 0.0, "plateau", augment=shift_and_mirror)


def shift_and_mirror(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return random_flip(random_crop(images, 4, generator), generator)


def glyph_net(arm: str, reduction: int, device: torch.device) -> nn.Module:
    """The network of one arm: "far-sighted", the control without attention, or a mechanism."""
    if arm == "far-sighted":
        return GlyphNet(far_sighted=True).to(device)
    mechanism, options = read_arm(arm, reduction=reduction, norm=True, size=(16, 16))  # cells of a picture
    return GlyphNet(attention=mechanism, **options).to(device)


def small_cnn(arm: str, num_classes: int, reduction: int, device: torch.device) -> nn.Module:
    mechanism, options = read_arm(arm, reduction=reduction)
    return SmallCNN(num_classes, attention=mechanism, **options).to(device)


def read_arm(arm: str, **common: object) -> tuple[str, dict[str, object]]:
    """A mechanism and its options: those that the arm names, and those of `common` that the mechanism takes.

    Examples
    --------
    >>> read_arm("deformable:offset_range=0,heads=8", reduction=4, norm=True)
    ('deformable', {'norm': True, 'offset_range': 0, 'heads': 8})
    """
    mechanism, _, named = arm.partition(":")
    takes = inspect.signature(MECHANISMS[mechanism]).parameters if mechanism in MECHANISMS else ()
    options = {option: value for option, value in common.items() if option in takes}
    for text in filter(None, named.split(",")):
        option, _, value = text.partition("=")
        try:
            options[option] = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            raise ValueError(f"--attention {arm}: {text!r} is not option=value, as in se:reduction=8.") from None
    return mechanism, options


def step_times(arms: dict[str, Callable[[], nn.Module]], recipe: Recipe) -> dict[str, float]:
    """Milliseconds of a forward and backward pass of each arm, in turns: a busy machine slows all of them alike."""

    def step(model: nn.Module):
        device, size = next(model.parameters()).device, getattr(model, "image_size", 64)
        images = prepare(torch.zeros(recipe.batch_size, 3, size, size, dtype=torch.uint8, device=device))
        return lambda: model(images).sum().backward()

    return latency({arm: step(build()) for arm, build in arms.items()}, rounds=9).ms.to_dict()


def no_score(model: nn.Module, test: ImageSet) -> dict[str, float]:
    """Photographs have no masks to score against."""
    return {}


@torch.no_grad()
def pointing(model: GlyphNet, test: ImageSet) -> dict[str, float]:
    """How often the loudest vote for the answer, and the highest gate, lie on the glyph that counts."""
    model.eval()
    votes, maps = [], []
    device = next(model.parameters()).device
    for images in test.images.split(500):
        with watch(model) as seen:
            every = model.votes(prepare(images.to(device)))  # (500, K, h, w)
        answer = every.mean((2, 3)).argmax(1)
        votes.append(every[torch.arange(len(every)), answer].cpu())
        maps.append(place_map(seen))
    score = pointing_game(torch.cat(votes), test.masks["target"])
    row = {"votes_on_target": score["score"], "chance": score["chance"], "gates_on_target": float("nan")}
    if maps[0] is not None:
        row["gates_on_target"] = pointing_game(torch.cat(maps).cpu(), test.masks["target"])["score"]
    return row


def record(
    out: Path,
    cases: list[Case],
    arms: dict[str, Callable[[], nn.Module]],
    recipe: Recipe,
    score: Callable[[nn.Module, ImageSet], dict[str, float]],
) -> None:
    """Train what `out` does not hold yet, and append a row for each run; `score` adds columns of its own."""
    milliseconds = step_times(arms, recipe)
    done, columns = set(), None
    if out.exists():
        with open(out, newline="") as file:
            rows = csv.DictReader(file)
            done, columns = {(row["data"], row["arm"], int(row["seed"])) for row in rows}, rows.fieldnames
    with open(out, "a", newline="", buffering=1) as file, progress_bar(len(cases) * len(arms), "runs") as bar:
        for data, seed, pair in cases:
            todo = [arm for arm in arms if (data, arm, seed) not in done]
            bar.update(len(arms) - len(todo))
            train, test = pair() if todo else (None, None)
            for arm in todo:
                model, result = train_once(arms[arm], train, test, recipe, seed)
                result |= {"step_ms": milliseconds[arm]} | score(model, test)
                row = {"data": data, "arm": arm, "seed": seed, **{k: round(v, 4) for k, v in result.items()}}
                if columns not in (None, list(row)):
                    raise ValueError(f"{out.name} has other columns than this recording: name another file with --out.")
                writer = csv.DictWriter(file, row)
                if file.tell() == 0:
                    writer.writeheader()
                writer.writerow(row)
                bar.update()


def write_header(arguments: list[str], options: argparse.Namespace, recipe: Recipe, device: torch.device) -> None:
    """``out`` with the ending .json: everything that somebody needs who wants the same rows."""
    words = [word for argument in arguments for word in argument.split("=", 1)]
    words = [Path(word).name if os.path.isabs(word) else word for word in words]  # folders of this machine say nothing
    header = {
        "command": shlex.join(["python", "-m", "attn_lessons.train", *words]),
        "recipe": recipe.in_words(),
        "seeds": options.seeds,
        "date": datetime.date.today().isoformat(),
        "hardware": torch.cuda.get_device_name() if device.type == "cuda" else f"CPU ({platform.machine()})",
        "threads": options.threads,
        "versions": {"attn_lessons": __version__, "python": platform.python_version(), "torch": torch.__version__},
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".json").write_text(json.dumps(header, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
