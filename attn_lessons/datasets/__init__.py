"""Images as one uint8 tensor: GlyphWorld, CIFAR, folders and zips of image files, and augmentation on the device."""

from .augment import cutmix, cutout, mixup, normalise, random_crop, random_flip
from .conversion import as_image_set
from .download import DownloadError, data_folder
from .folder import image_folder
from .hundred import glyphworld_100, hundred_classes
from .image_set import ImageSet
from .photographs import cifar10, cifar100, tiny_imagenet
from .puzzles import CEILINGS, PUZZLES, glyphworld
from .scene import Scene

__all__ = [
    "CEILINGS", "PUZZLES", "DownloadError", "ImageSet", "Scene", "as_image_set", "cifar10", "cifar100", "cutmix",
    "cutout", "data_folder", "glyphworld", "glyphworld_100", "hundred_classes", "image_folder", "mixup", "normalise",
    "random_crop", "random_flip", "tiny_imagenet",
]  # fmt: skip
