"""Train from the command line: ``python -m attn_lessons.train --help``.

``run`` trains one network and keeps its logs, its state after each epoch, and its weights. ``sweep`` trains mechanisms
× seeds and writes one CSV, one row per run, and a JSON beside it that says how the rows were made. Both continue where
they were stopped when they are called again with the same arguments.

Introduced in lesson 09. A run in several processes: ``accelerate launch -m attn_lessons.train run …``.
"""

import argparse
import ast
import inspect
import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from accelerate import PartialState
from torch import nn

from . import models
from .attention import MECHANISMS
from .datasets import PUZZLES, ImageSet, cifar10, cifar100, glyphworld, image_folder, tiny_imagenet
from .training import RECIPES, Recipe, fit, save_weights
from .training.checkpoint import image_fingerprints
from .training.recording import header, pointing, record

GLYPHWORLD_TRAIN, GLYPHWORLD_TEST = 4000, 2000  # images
TEST_SEED = 999  # of no training set
PHOTOGRAPHS = {"cifar10": cifar10, "cifar100": cifar100, "tiny-imagenet": tiny_imagenet}
NETWORKS = {"glyph_net": "glyphworld", "small_cnn": "tutorial"}  # and the recipe of each
NETWORKS |= {f"vgg{depth}{norm}": "modern" for depth in (11, 13, 16, 19) for norm in ("", "_bn")}


def main(arguments: list[str] | None = None) -> None:
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    several = os.environ.get("WORLD_SIZE", "1") != "1"
    if several and options.command == "sweep":
        raise ValueError("sweep trains in one process: start it without accelerate launch.")
    alone = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    options.device = PartialState().device if several else alone
    recipe = recipe_of(options)
    {"run": run, "sweep": sweep}[options.command](options, recipe, header(arguments, recipe, options.device))


def run(options: argparse.Namespace, recipe: Recipe, about: dict[str, object]) -> None:
    """Train one network; keep its logs, its checkpoints and its weights."""
    if options.puzzles:
        train, test = puzzle(options.puzzles[0], options.images, options.seed)
    else:
        train, test = subset(*photographs(options), options.images, options.seed)
    torch.manual_seed(options.seed)
    name, arguments = architecture(options.attention, train, options)
    model = build(name, arguments, options)
    epochs = fit(model, train, test, recipe, options.seed, options.folder).epochs
    if not PartialState().is_main_process:
        return
    accuracy = epochs.test_accuracy.iloc[-1]
    print(f"{train.name}: {100 * accuracy:.2f} % of {len(test):,} test images right after {recipe.epochs} epochs.")
    if options.weights:
        network = {"network": name, "arguments": arguments, "classes": train.classes, "dataset": train.name}
        network |= {"seed": options.seed, "test_accuracy": round(accuracy, 4)}
        options.weights.parent.mkdir(parents=True, exist_ok=True)
        save_weights(model, options.weights, network | about)
        epochs.to_csv(options.weights.with_suffix(".csv"), index=False, float_format="%.4g")


def sweep(options: argparse.Namespace, recipe: Recipe, about: dict[str, object]) -> None:
    """Train mechanisms × seeds on each data set, and record one row per run."""
    settings = settings_of(options)
    if options.puzzles:
        data = {name: partial(puzzle, name, options.images) for name in options.puzzles}
        example = glyphworld("key", 1)  # no puzzle has more classes
        score = pointing if options.network == "glyph_net" else None
    else:
        train, test = photographs(options)
        data = {train.name: partial(subset, train, test, options.images)}
        example, score = subset(train, test, options.images, 0)[0], None
        settings |= image_fingerprints(train, test)
    about |= {"settings": settings, "seeds": options.seeds}
    variants = {name: partial(build, *architecture(name, example, options), options) for name in options.attention}
    record(options.out, variants, data, recipe, options.seeds, about, score)


# ---------------------------------------------------------------------------------------------- the command line
def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m attn_lessons.train", description=__doc__.split("\n\n")[1])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run", help="one network, with logs, resume and weights")
    many = commands.add_parser("sweep", help="mechanisms × seeds, into one CSV")
    options = "with options that differ from the default: deformable:offset_range=0,num_heads=8; deep is a control"
    one.add_argument("--attention", default="none", help=f"mechanism, {options}")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--folder", type=Path, required=True, help="of the logs and checkpoints; a stopped run continues")
    one.add_argument("--weights", type=Path, help="safetensors file for models.trained; the epochs beside it")
    many.add_argument("--attention", nargs="+", default=["none", "se"], help=f"mechanisms, {options}")
    many.add_argument("--seeds", type=count, default=5, help="how many (default: %(default)s)")
    many.add_argument("--out", type=Path, required=True, help="CSV to write or to continue")
    for command, sets in ((one, 1), (many, "+")):
        add = command.add_argument
        add("--data", nargs=sets, choices=[*PUZZLES, *PHOTOGRAPHS], help="data set or puzzles; or --train and --test")
        add("--train", help="your images: a folder or zip with one folder of images per class")
        add("--test", help="the same, for testing")
        add("--name", default="images", help="name of your images in the results")
        add("--size", type=count, default=32, help="height and width of your images (default: 32)")
        add("--images", type=count, help="how many to train on, chosen by the seed (default: all)")
        add("--network", choices=list(NETWORKS), help="default: glyph_net for puzzles, else small_cnn")
        add("--width", type=float, help="of a VGG: fraction of its channels (default: 1)")
        add("--blocks", type=int, nargs="+", help="of a VGG, with attention (default: all five)")
        add("--reduction", type=int, default=4, help="of mechanisms that have one (default: 4)")
        add("--epochs", type=count)
        add("--batch-size", type=count)
        add("--learning-rate", type=float)
        add("--precision", help="fp32 (default); bf16 on a newer GPU, fp16 on an older one")
        add("--compile", action="store_true", help="torch.compile the network first")
        add("--threads", type=count, default=torch.get_num_threads())
    options = parser.parse_args(arguments)
    if (options.data is not None, options.train is None, options.test is None) not in ((1, 1, 1), (0, 0, 0)):
        parser.error("say what to train on: either --data, or both --train and --test.")
    options.puzzles = options.data if options.data and set(options.data) <= set(PUZZLES) else []
    if options.data and len(options.data) > 1 and not options.puzzles:
        parser.error(f"--data {' '.join(options.data)}: choose one data set, or puzzles only ({', '.join(PUZZLES)}).")
    options.network = options.network or ("glyph_net" if options.puzzles else "small_cnn")
    options.images = options.images or (GLYPHWORLD_TRAIN if options.puzzles else None)
    if not options.network.startswith("vgg") and (options.width, options.blocks) != (None, None):
        parser.error(f"--width and --blocks are of a VGG, and this is a {options.network}.")
    return options


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def recipe_of(options: argparse.Namespace) -> Recipe:
    given = {name: value for name, value in vars(options).items() if name in vars(Recipe()) and value is not None}
    return replace(RECIPES[NETWORKS[options.network]], **given)


def settings_of(options: argparse.Namespace) -> dict[str, object]:
    """What all rows of a recording have in common; variants, seeds and puzzles may be added to it later."""
    return {name: getattr(options, name) for name in ("images", "network", "width", "blocks", "reduction")}


# ---------------------------------------------------------------------------------------------- images
def puzzle(name: str, n_images: int, seed: int) -> tuple[ImageSet, ImageSet]:
    return glyphworld(name, n_images, seed), glyphworld(name, GLYPHWORLD_TEST, TEST_SEED)


def photographs(options: argparse.Namespace) -> tuple[ImageSet, ImageSet]:
    if options.data:
        train, test = PHOTOGRAPHS[options.data[0]]()
    else:
        train, test = (image_folder(path, options.size) for path in (options.train, options.test))
        train, test = replace(train, name=options.name), replace(test, name=options.name)
        if train.classes != test.classes:
            raise ValueError(f"--train and --test must hold the same classes: {train.classes} and {test.classes}.")
    if options.images and options.images > len(train):
        raise ValueError(f"--images {options.images}: there are only {len(train):,} to train on.")
    return train, test


def subset(train: ImageSet, test: ImageSet, n_images: int | None, seed: int) -> tuple[ImageSet, ImageSet]:
    """`n_images` training images, chosen by the seed, and all test images."""
    return train[torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[:n_images]], test


# ---------------------------------------------------------------------------------------------- networks
def architecture(variant: str, dataset: ImageSet, options: argparse.Namespace) -> tuple[str, dict[str, object]]:
    """A class of `attn_lessons.models` and its arguments, for a mechanism or for "deep", the control."""
    size, arguments = dataset.images.shape[-1], {"num_classes": len(dataset.classes)}
    if options.network == "glyph_net" and variant == "deep":
        return "GlyphNet", arguments | {"deep": True}
    if options.network == "glyph_net":  # with feature maps of a quarter of the image's size
        common = {"norm": True, "size": (size // 4, size // 4)}
        return "GlyphNet", arguments | read_variant(variant, reduction=options.reduction, **common)
    arguments |= {"image_size": size} | read_variant(variant, reduction=options.reduction)
    if options.network == "small_cnn":
        return "SmallCNN", arguments
    vgg = {"depth": int(options.network[3:5]), "batch_norm": options.network.endswith("_bn"), "head": "cifar"}
    vgg |= {"width": 1 if options.width is None else options.width, "blocks": options.blocks or [1, 2, 3, 4, 5]}
    return "VGG", vgg | arguments


def read_variant(variant: str, **common: object) -> dict[str, object]:
    """A mechanism and its options: those that the variant names, and those of `common` that the mechanism takes.

    Examples
    --------
    >>> read_variant("deformable:offset_range=0,position=table", reduction=4, norm=True)
    {'attention': 'deformable', 'norm': True, 'offset_range': 0, 'position': 'table'}
    """
    mechanism, _, named = variant.partition(":")
    takes = inspect.signature(MECHANISMS[mechanism]).parameters if mechanism in MECHANISMS else ()
    chosen = {"attention": mechanism} | {option: value for option, value in common.items() if option in takes}
    for text in filter(None, named.split(",")):
        option, _, value = text.partition("=")
        if not value:
            raise ValueError(f"--attention {variant}: {text!r} is not option=value, as in se:reduction=8.")
        try:
            chosen[option] = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            chosen[option] = value  # a word: position=table
    return chosen


def build(name: str, arguments: dict[str, object], options: argparse.Namespace) -> nn.Module:
    model = getattr(models, name)(**arguments).to(options.device)
    if options.compile:
        model.compile()  # in place: the names of the weights stay
    return model


if __name__ == "__main__":
    try:
        main()
    except (ValueError, TypeError, OSError, FloatingPointError) as error:  # one sentence each
        sys.exit(f"attn_lessons.train: {error}")
