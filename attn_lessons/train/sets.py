"""The images of a command: which to train on, to choose the best epoch by, and to test on."""

import argparse
from dataclasses import replace
from typing import NamedTuple

import torch

from ..datasets import PUZZLES, ImageSet, cifar10, cifar100, glyphworld, image_folder, tiny_imagenet

GLYPHWORLD_TRAIN, GLYPHWORLD_TEST = 4000, 2000  # images
TEST_SEED = 999  # of no training set
PHOTOGRAPHS = {"cifar10": cifar10, "cifar100": cifar100, "tiny-imagenet": tiny_imagenet}
KNOWN = [*PUZZLES, *PHOTOGRAPHS]
HELD_OUT = 0.2  # of your images, where there is nothing else to measure on


class Sets(NamedTuple):
    """Images to train on; to choose the best epoch by, if any; to test on, if any."""

    train: ImageSet
    validation: ImageSet | None
    test: ImageSet | None

    def some(self, n_images: int | None, seed: int) -> "Sets":
        """`n_images` training images, chosen by the seed, and all others."""
        order = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(seed))
        return self._replace(train=self.train[order[:n_images]])


def puzzle(name: str, n_images: int | None, seed: int, part: float | None = None) -> Sets:
    train, test = glyphworld(name, n_images or GLYPHWORLD_TRAIN, seed), glyphworld(name, GLYPHWORLD_TEST, TEST_SEED)
    return Sets(*split(train, part), test) if part else Sets(train, None, test)


def photographs(settings) -> Sets:
    """All images of a data set, or of your folders; what is held out is the same for every seed."""
    if settings.data:
        train, test = PHOTOGRAPHS[settings.data[0]]()
    else:
        train, test = (path and yours(path, settings) for path in (settings.train, settings.test))
    part = settings.validation or (None if test else HELD_OUT)
    train, validation = (train, yours(part, settings)) if isinstance(part, str) else split(train, part)
    for other, name in ((validation, "validation"), (test, "test")):
        if other is not None and settings.train:
            must_be_other_images(train, other, name)
    if len(train.classes) == 1:
        raise ValueError(f"--train holds a single class, {train.classes[0]!r}: there is nothing to tell apart.")
    if settings.images and settings.images > len(train):
        raise ValueError(f"--images {settings.images}: there are only {len(train):,} to train on.")
    return Sets(train, validation, test)


def yours(path: str, settings) -> ImageSet:
    return replace(image_folder(path, settings.size), name=settings.name)


def split(images: ImageSet, part: float | None) -> tuple[ImageSet, ImageSet | None]:
    """Hold out the same part of every class, at least one image and not all of them; the choice is always the same."""
    if part is None:
        return images, None
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    out = torch.zeros(len(images), dtype=torch.bool)
    for label, name in enumerate(images.classes):
        own = order[images.labels[order] == label]
        if len(own) == 1:
            raise ValueError(f"class {name!r} has a single image, and none would be left to measure on: add another.")
        out[own[: min(max(1, round(part * len(own))), len(own) - 1)]] = True
    return images[~out], images[out]


def must_be_other_images(train: ImageSet, other: ImageSet, name: str) -> None:
    """Refuse other classes and the very same images; say so if some are the same."""
    if train.classes != other.classes:
        raise ValueError(f"--train and --{name} must hold the same classes: {train.classes} and {other.classes}.")
    known, own = ({hash(image.numpy().tobytes()) for image in some.images} for some in (train, other))
    if own <= known:
        raise ValueError(f"all {name} images are among those to train on: their accuracy would mean nothing.")
    if own & known:
        print(f"{len(own & known):,} of the {len(other):,} {name} images are to train on as well: they flatter.")


def part_or_path(text: str) -> float | str:
    """Of ``--validation``: 0.2, or a folder."""
    try:
        part = float(text)
    except ValueError:
        return text
    if not 0 < part < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a fraction between 0 and 1, nor a folder")
    return part
