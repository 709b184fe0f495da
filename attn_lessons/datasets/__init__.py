"""Pictures as one uint8 tensor: GlyphWorld, folders and zips of image files, and augmentation on the device."""

from .augment import cutout, normalise, random_crop, random_flip
from .folder import image_folder
from .glyphworld import CEILINGS, PUZZLES, Scene, glyphworld
from .image_set import ImageSet

__all__ = [
    "CEILINGS",
    "PUZZLES",
    "ImageSet",
    "Scene",
    "cutout",
    "glyphworld",
    "image_folder",
    "normalise",
    "random_crop",
    "random_flip",
]
