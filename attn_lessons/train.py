"""Train from the command line: ``python -m attn_lessons.train --help``.

``run`` trains one network and keeps everything: logs, the state after each epoch, the weights. ``sweep`` trains
mechanisms × seeds on photographs, ``glyphworld`` on the puzzles, into one CSV with a row a run, and a JSON beside it
that says how the rows were made. Each goes on where it was stopped when it is called again with the same arguments.

Introduced in lesson 09. A run in several processes: ``accelerate launch -m attn_lessons.train run …``.
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
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from . import __version__, models
from .attention import MECHANISMS, watch
from .datasets import (
    PUZZLES,
    ImageSet,
    cifar10,
    cifar100,
    glyphworld,
    glyphworld_100,
    image_folder,
    tiny_imagenet,
)
from .insight import pointing_game, spatial_map
from .measure import latency
from .models import GlyphNet
from .training import RECIPES, Recipe, fit, prepare, progress_bar, save_weights, train_once
from .training.checkpoint import image_fingerprints
from .training.processes import start_accelerator
from .training.recipe import PRECISIONS

GLYPHWORLD_TRAIN, GLYPHWORLD_TEST = 4000, 2000  # images
TEST_SEED = 999  # no training set has it
DOWNLOADED = {"cifar10": cifar10, "cifar100": cifar100, "tiny-imagenet": tiny_imagenet}
NETWORKS = {"glyph_net": "glyphworld", "small_cnn": "tutorial"} | {  # and the recipe that each is trained with
    f"vgg{depth}{norm}": "modern" for depth in (11, 13, 16, 19) for norm in ("", "_bn")
}
Case = tuple[str, int, Callable[[], tuple[ImageSet, ImageSet]]]  # what the images are called, seed, the images
Architecture = tuple[str, dict[str, object]]  # a class of attn_lessons.models, and its arguments


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    options.words = sys.argv[1:] if arguments is None else arguments
    torch.set_num_threads(options.threads)
    options.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if os.environ.get("WORLD_SIZE", "1") != "1":
        if options.kind != "run":
            raise ValueError(f"{options.kind} trains in one process: start it without accelerate launch.")
        from accelerate import PartialState

        options.device = PartialState().device
    {"run": run, "sweep": sweep, "photographs": sweep, "glyphworld": sweep_puzzles}[options.kind](options)


def run(options: argparse.Namespace) -> None:
    """One network, and everything that its training leaves."""
    from accelerate import PartialState

    recipe = recipe_of(options)
    if options.data in PUZZLES:
        train, test = glyphworld_pair(options.data, options.images or GLYPHWORLD_TRAIN, options.seed)
    else:
        ((_, _, pair),) = photograph_cases(*photographs(options), options, [options.seed])
        train, test = pair()
    torch.manual_seed(options.seed)
    architecture = describe(options.network, options.attention, train, options)
    model = build(architecture, options)
    epochs = fit(model, train, test, recipe, options.seed, options.folder).epochs
    last = epochs.iloc[-1]
    if PartialState().is_main_process:
        print(f"{train.name}: {100 * last.test_accuracy:.2f} % of {len(test):,} test images right after "
              f"{recipe.epochs} epochs. Logs and weights: {options.folder}")  # fmt: skip
    if options.weights and PartialState().is_main_process:
        about = {"network": architecture[0], "arguments": architecture[1], "classes": train.classes}
        about |= {"dataset": train.name, "seed": options.seed, "test_accuracy": round(last.test_accuracy, 4)}
        options.weights.parent.mkdir(parents=True, exist_ok=True)
        save_weights(model, options.weights, about | header(options, recipe))
        digits = {name: 4 for name in epochs if name != "learning_rate"}
        epochs.round(digits).to_csv(options.weights.with_suffix(".csv"), index=False)


def sweep(options: argparse.Namespace) -> None:
    """Mechanisms × seeds on photographs."""
    recipe = recipe_of(options)
    train, test = photographs(options)
    cases = list(photograph_cases(train, test, options, range(options.seeds)))
    record(options, cases, train, recipe, no_score, image_fingerprints(train, test))


def sweep_puzzles(options: argparse.Namespace) -> None:
    """Mechanisms × seeds on GlyphWorld."""
    record(options, list(glyphworld_cases(options)), glyphworld("key", 1), recipe_of(options), pointing, {})


# ---------------------------------------------------------------------------------------------- the command line
def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m attn_lessons.train", description=__doc__.split("\n\n")[1])
    kinds = parser.add_subparsers(dest="kind", required=True)
    one = kinds.add_parser("run", help="one network, with logs, resume and weights")
    many = kinds.add_parser("sweep", aliases=["photographs"], help="mechanisms × seeds on photographs, into one CSV")
    puzzles = kinds.add_parser("glyphworld", help="mechanisms × seeds on GlyphWorld's puzzles, into one CSV")

    puzzles.add_argument("--puzzles", nargs="+", choices=list(PUZZLES), default=list(PUZZLES))
    puzzles.add_argument("--images", type=count, default=GLYPHWORLD_TRAIN, help="to train on (default: %(default)s)")
    puzzles.set_defaults(network="glyph_net", recipe=None)
    for kind, data in ((one, [*PUZZLES, *DOWNLOADED, "glyphworld-100"]), (many, [*DOWNLOADED, "glyphworld-100"])):
        kind.add_argument("--data", choices=data, help="what to train on; or --train, --test and --name")
        kind.add_argument("--train", help="images of yours: a folder or zip with one folder of images per class")
        kind.add_argument("--test", help="the same, for testing")
        kind.add_argument("--name", default="images", help="what to call those in the results")
        kind.add_argument("--size", type=count, default=32, help="height and width of those (default: %(default)s)")
        kind.add_argument("--images", type=count, help="train on so many of them, chosen by the seed (default: all)")
        kind.add_argument("--network", choices=list(NETWORKS), help="default: glyph_net for a puzzle, else small_cnn")
        kind.add_argument("--width", type=float, help="of a VGG: channels as a share of its own (default: 1)")
        kind.add_argument("--blocks", type=int, nargs="+", help="of a VGG that get attention (default: all five)")
        kind.add_argument("--recipe", choices=list(RECIPES), help="default: what the network is usually trained with")
        kind.add_argument("--compile", action="store_true", help="torch.compile the network first")
    for kind in (one, many, puzzles):
        kind.add_argument("--epochs", type=count)
        kind.add_argument("--batch-size", type=count)
        kind.add_argument("--learning-rate", type=float)
        kind.add_argument("--precision", choices=PRECISIONS, help="bf16 on a newer GPU, fp16 on an older one")
        kind.add_argument("--reduction", type=int, default=4, help="of the mechanisms that have one (default: 4)")
        kind.add_argument("--threads", type=count, default=torch.get_num_threads())
    variant = (
        "with options where they differ from the default: deformable:offset_range=0,num_heads=8; deep is a control"
    )
    one.add_argument("--attention", default="none", help=f"a mechanism, {variant}")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--folder", type=Path, required=True, help="for logs and states; a run that was stopped goes on")
    one.add_argument(
        "--weights", type=Path, help="a safetensors file for attn_lessons.models.trained; the epochs beside it"
    )
    for kind in (many, puzzles):
        kind.add_argument("--attention", nargs="+", default=["none", "se"], help=f"mechanisms, {variant}")
        kind.add_argument("--seeds", type=count, default=5)
        kind.add_argument("--out", type=Path, required=True, help="the CSV to write or to continue")
    options = parser.parse_args(arguments)
    if options.kind != "glyphworld":
        if (options.data is not None, options.train is None, options.test is None) not in ((1, 1, 1), (0, 0, 0)):
            parser.error("say what to train on: either --data, or both --train and --test.")
        options.network = options.network or ("glyph_net" if options.data in PUZZLES else "small_cnn")
        if not options.network.startswith("vgg") and (options.width, options.blocks) != (None, None):
            parser.error(f"--width and --blocks are of a VGG, and this is a {options.network}.")
    return options


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def recipe_of(options: argparse.Namespace) -> Recipe:
    named = ("epochs", "batch_size", "learning_rate", "precision")
    named = {name: getattr(options, name) for name in named if getattr(options, name) is not None}
    return replace(RECIPES[options.recipe or NETWORKS[options.network]], **named)


# ---------------------------------------------------------------------------------------------- images
def glyphworld_cases(options: argparse.Namespace) -> Iterator[Case]:
    for seed in range(options.seeds):  # all puzzles of one seed first: a recording that was stopped is still balanced
        for puzzle in options.puzzles:
            yield puzzle, seed, partial(glyphworld_pair, puzzle, options.images, seed)


def glyphworld_pair(puzzle: str, images: int, seed: int) -> tuple[ImageSet, ImageSet]:
    return glyphworld(puzzle, images, seed), glyphworld(puzzle, GLYPHWORLD_TEST, TEST_SEED)


def photographs(options: argparse.Namespace) -> tuple[ImageSet, ImageSet]:
    if options.data == "glyphworld-100":
        return glyphworld_100(50_000, seed=0), glyphworld_100(10_000, seed=1)
    if options.data:
        return DOWNLOADED[options.data]()
    train, test = (
        replace(image_folder(path, options.size), name=options.name) for path in (options.train, options.test)
    )
    if train.classes != test.classes:
        raise ValueError(f"--train and --test must hold the same classes: {train.classes} and {test.classes}.")
    return train, test


def photograph_cases(train: ImageSet, test: ImageSet, options: argparse.Namespace, seeds: list[int]) -> Iterator[Case]:
    if options.images and options.images > len(train):
        raise ValueError(f"--images {options.images}: there are only {len(train):,} to train on.")
    for seed in seeds:
        chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[: options.images]
        yield train.name, seed, lambda chosen=chosen: (train[chosen], test)


# ---------------------------------------------------------------------------------------------- networks
def describe(network: str, variant: str, dataset: ImageSet, options: argparse.Namespace) -> Architecture:
    """The network of one variant: "deep", the control without attention, or a mechanism."""
    size = dataset.images.shape[-1]
    if network == "glyph_net":
        if variant == "deep":
            return "GlyphNet", {"num_classes": len(dataset.classes), "deep": True}
        mechanism, chosen = read_variant(
            variant, reduction=options.reduction, norm=True, size=(size // 4,) * 2
        )  # its maps'
        return "GlyphNet", {"num_classes": len(dataset.classes), "attention": mechanism, **chosen}
    mechanism, chosen = read_variant(variant, reduction=options.reduction)
    chosen = {"num_classes": len(dataset.classes), "image_size": size, "attention": mechanism, **chosen}
    if network == "small_cnn":
        return "SmallCNN", chosen
    depth, norm = re.fullmatch(r"vgg(\d+)(_bn)?", network).groups()
    where = {"head": "cifar", "width": 1 if options.width is None else options.width}
    where["blocks"] = options.blocks or [1, 2, 3, 4, 5]
    return "VGG", {"depth": int(depth), "batch_norm": norm is not None, **where, **chosen}


def build(architecture: Architecture, options: argparse.Namespace) -> nn.Module:
    name, arguments = architecture
    model = getattr(models, name)(**arguments).to(options.device)
    if getattr(options, "compile", False):
        model.compile()  # in place: the names of the weights stay
    return model


def read_variant(variant: str, **common: object) -> tuple[str, dict[str, object]]:
    """A mechanism and its options: those that the variant names, and those of `common` that the mechanism takes.

    Examples
    --------
    >>> read_variant("deformable:offset_range=0,position=table", reduction=4, norm=True)
    ('deformable', {'norm': True, 'offset_range': 0, 'position': 'table'})
    """
    mechanism, _, named = variant.partition(":")
    takes = inspect.signature(MECHANISMS[mechanism]).parameters if mechanism in MECHANISMS else ()
    options = {option: value for option, value in common.items() if option in takes}
    for text in filter(None, named.split(",")):
        option, _, value = text.partition("=")
        try:
            options[option] = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            options[option] = value  # a word: position=table
        if not value:
            raise ValueError(f"--attention {variant}: {text!r} is not option=value, as in se:reduction=8.")
    return mechanism, options


def step_times(variants: dict[str, Callable[[], nn.Module]], recipe: Recipe, example: ImageSet) -> dict[str, float]:
    """Milliseconds of a forward and backward pass of each variant, in turns: a busy machine slows all of them alike."""

    models = {variant: build() for variant, build in variants.items()}
    device = next(next(iter(models.values())).parameters()).device
    images = prepare(torch.zeros(recipe.batch_size, *example.images.shape[1:], dtype=torch.uint8, device=device))

    with start_accelerator(device, recipe) as engine:

        def step(model: nn.Module) -> None:
            with engine.autocast():
                logits = model(images)
            logits.float().sum().backward()

        return latency({variant: partial(step, model) for variant, model in models.items()}, rounds=9).ms.to_dict()


def no_score(model: nn.Module, test: ImageSet) -> dict[str, float]:
    """Photographs have no masks to score against."""
    return {}


@torch.no_grad()
def pointing(model: GlyphNet, test: ImageSet) -> dict[str, float]:
    """How often the loudest vote for the answer, and the highest gate, lie on the glyph that counts."""
    model.eval()
    position_logits, maps = [], []
    device = next(model.parameters()).device
    for images in test.images.split(500):
        with watch(model) as seen:
            every = model.position_logits(prepare(images.to(device)))  # (500, K, h, w)
        answer = every.mean((2, 3)).argmax(1)
        position_logits.append(every[torch.arange(len(every)), answer].cpu())
        maps.append(spatial_map(seen))
    score = pointing_game(torch.cat(position_logits), test.masks["target"])
    row = {"cam_on_target": score["score"], "chance": score["chance"], "gates_on_target": float("nan")}
    if maps[0] is not None:
        row["gates_on_target"] = pointing_game(torch.cat(maps).cpu(), test.masks["target"])["score"]
    return row


def record(
    options: argparse.Namespace,
    cases: list[Case],
    example: ImageSet,
    recipe: Recipe,
    score: Callable[[nn.Module, ImageSet], dict[str, float]],
    dataset: dict[str, str],
) -> None:
    """Train what the CSV does not hold yet, and append a row for each run; `score` adds columns of its own.

    `dataset` says which images they are, where their name does not.

    `example` has the image size of all cases, and the most classes that any of them has.
    """
    variants = {
        variant: partial(build, describe(options.network, variant, example, options), options)
        for variant in options.attention
    }
    milliseconds = step_times(
        variants, recipe, example
    )  # a misspelt mechanism is found now, before anything is written
    out: Path = options.out
    out.parent.mkdir(parents=True, exist_ok=True)
    about = header(options, recipe) | {"settings": settings(options) | dataset, "seeds": options.seeds}
    done, columns = set(), None
    if out.exists():
        with open(out, newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            done, columns = {(row["data"], row["variant"], int(row["seed"])) for row in rows}, rows.fieldnames
    if done:
        expect_same_making(out, about)
    with (
        open(out, "a", newline="", buffering=1, encoding="utf-8") as file,
        progress_bar(len(cases) * len(variants), "runs") as bar,
    ):
        for data, seed, pair in cases:
            todo = [variant for variant in variants if (data, variant, seed) not in done]
            bar.update(len(variants) - len(todo))
            train, test = pair() if todo else (None, None)
            for variant in todo:
                model, result = train_once(variants[variant], train, test, recipe, seed)
                result |= {"step_ms": milliseconds[variant]} | score(model, test)
                row = {"data": data, "variant": variant, "seed": seed, **{k: round(v, 4) for k, v in result.items()}}
                if columns not in (None, list(row)):
                    raise ValueError(f"{out.name} has other columns than this recording: name another file with --out.")
                # First how the row was made, then the row: killed between the two, there is no row of unknown making.
                out.with_suffix(".json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
                writer = csv.DictWriter(file, row)
                if file.tell() == 0:
                    writer.writeheader()
                writer.writerow(row)
                bar.update()


def settings(options: argparse.Namespace) -> dict[str, object]:
    """What all rows of a recording have in common; variants, seeds and puzzles may be added to it later."""
    names = ("data", "name", "size", "images", "network", "width", "blocks", "reduction")
    return {name: getattr(options, name, None) for name in names}  # None is a setting, too: all images, for one


def expect_same_making(out: Path, about: dict[str, object]) -> None:
    """Rows of two recipes in one table would be compared as if they were made alike."""
    path = out.with_suffix(".json")
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for part in ("recipe", "settings"):
        now, then = json.loads(json.dumps(about[part])), before.get(part, {})  # as it is read back: tuples are lists
        for name in now | then:
            if name not in then or now.get(name) != then[name]:
                was = f"with {name} {then[name]!r}" if name in then else f"without a word about {name}"
                raise ValueError(
                    f"{out.name} was recorded {was}, and this recording has {now.get(name)!r}: name another file with "
                    f"--out."
                )


def header(options: argparse.Namespace, recipe: Recipe) -> dict[str, object]:
    """Everything that somebody needs who wants the same numbers."""
    words = [word for text in options.words for word in (text.split("=", 1) if text.startswith("--") else [text])]
    words = [Path(word).name if os.path.isabs(word) else word for word in words]  # folders of this machine say nothing
    on_gpu = options.device.type == "cuda"
    return {
        "command": shlex.join(["python", "-m", "attn_lessons.train", *words]),
        "recipe": recipe.in_words(),
        "date": datetime.date.today().isoformat(),
        "hardware": torch.cuda.get_device_name() if on_gpu else f"CPU ({platform.machine()})",
        "threads": options.threads,
        "versions": {"attn_lessons": __version__, "python": platform.python_version(), "torch": torch.__version__},
    }


if __name__ == "__main__":
    try:
        main()
    except (
        ValueError,
        TypeError,
        OSError,
        FloatingPointError,
    ) as error:  # each says in one sentence what was given and what is allowed
        sys.exit(f"attn_lessons.train: {error}")
