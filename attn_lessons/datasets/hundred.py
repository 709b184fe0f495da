"""A hundred classes: CIFAR-100 where it is, and a generated set under its own name where it is not.

Lesson 09 trains on it.
"""

from dataclasses import replace

import numpy as np

from .image_set import ImageSet
from .photographs import cifar100
from .puzzles import glyphworld
from .scene import COLORS, SHAPES, Scene, glyph_sprites

HUES = {"blue": 1, "green": 2, "yellow": 3, "red": 4, "pink": 5}  # rows of COLORS that differ most
RADII = {"tiny": 6, "small": 9, "large": 13, "huge": 18.5}  # pixels; each about 1.45 times the one before
SCALES, TURNS = (0.96, 1, 1.04), (-17, 3, 19)  # each a little larger or smaller, turned a little left or right
BOX = 45  # pixels along each side of a sprite


def glyphworld_100(n: int, seed: int = 0) -> ImageSet:
    """Draw `n` images of one glyph each: 5 shapes in 5 colours and 4 sizes make 100 classes.

    It stands in for CIFAR-100 where that cannot be had: as many classes, as many pixels. It is far easier.

    Parameters
    ----------
    n : int
        At least 1. 10,000 images take about ten seconds.
    seed : int, default 0
        Same seed, same bytes, on every machine; the first images do not depend on `n`.

    Returns
    -------
    ImageSet
        images uint8 (n, 3, 32, 32); labels int64 (n,), each class equally likely; masks["target"] bool (n, 32, 32),
        where the glyph is.

    Examples
    --------
    >>> images = glyphworld_100(50)
    >>> images
    ImageSet('GlyphWorld 100': 50 images of 32×32, 100 classes)
    >>> images.classes[0], images.classes[99]
    ('tiny blue disc', 'huge pink star')
    """
    dataset = glyphworld(one_of_a_hundred, n, seed)
    return replace(dataset, name="GlyphWorld 100", masks={"target": dataset.masks["target"]}).halved()


def one_of_a_hundred(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """One glyph, which is its own cue."""
    scene.classes = tuple(f"{size} {hue} {shape}" for shape in SHAPES for hue in HUES for size in RADII)
    shape, hue, size = (scene.draw.integers(0, count) for count in (len(SHAPES), len(HUES), len(RADII)))
    looks = glyph_sprites(tuple(s * r for r in RADII.values() for s in SCALES), TURNS, BOX, fine=4)
    sprites = looks[shape, 9 * size + scene.draw.integers(0, 9)]
    position = scene.draw.integers(BOX // 2, 64 - BOX // 2, 2)
    scene.stamp(sprites, scene.tint(COLORS[list(HUES.values())][hue]), position, candidate=0)
    return ((shape * len(HUES) + hue) * len(RADII) + size)[:, None], np.zeros(scene.n, np.int64)


def hundred_classes(train: int = 50_000, test: int = 10_000, download: bool = False) -> tuple[ImageSet, ImageSet]:
    """CIFAR-100 where it is, otherwise as many images of `glyphworld_100`; says which, every time.

    Parameters
    ----------
    train, test : int, default 50,000 and 10,000
        How many images: the first ones of CIFAR-100, whose order is random.
    download : bool, default False
        Try to fetch CIFAR-100 if it is not there.

    Returns
    -------
    tuple of two ImageSet
        Named "CIFAR-100" or "GlyphWorld 100"; images uint8 (n, 3, 32, 32), 100 classes.

    Examples
    --------
    >>> train, test = hundred_classes(5_000, 1_000)  # doctest: +SKIP
    """
    try:
        every = cifar100(download)
        dataset = every[0][:train], every[1][:test]
        says = "CIFAR-100: {}."
    except OSError as error:  # where nothing was asked for, without a folder: a saved lesson shows nobody's folders
        why = "cifar100() fetches it, 142 MB." if isinstance(error, FileNotFoundError) else error
        print(f"No CIFAR-100 here: {why}")
        dataset = glyphworld_100(train, seed=0), glyphworld_100(test, seed=1)
        says = "GlyphWorld 100 instead, generated: {}. What it shows says nothing about CIFAR-100."
    print(says.format(f"{len(dataset[0]):,} images to train on, {len(dataset[1]):,} to test with"))
    return dataset
