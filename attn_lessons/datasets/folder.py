"""Images from a folder or a zip, one sub-folder a class, as one tensor.

Plain plumbing: the photographs of the recorded runs are read with it, and Tiny-ImageNet.
"""

import io
import os
import posixpath
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image

from ..arguments import whole_number
from ..progress import progress_bar
from .image_set import ImageSet

ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}


def image_folder(path: str | os.PathLike, size: int) -> ImageSet:
    """Read every image under ``path/class/``, in sorted order.

    Parameters
    ----------
    path : path
        A folder, laid out as for `torchvision.datasets.ImageFolder`, or a zip with the same layout, which is read
        without being unpacked. Folders that merely wrap the class folders are skipped.
    size : int
        Each image is resized to size×size pixels, whatever its proportions.

    Returns
    -------
    ImageSet
        images uint8 (n, 3, size, size); a grey image gets three equal channels. The classes are the names of the
        folders, sorted; the set is named after `path`.

    Raises
    ------
    FileNotFoundError
        If there is neither a folder nor a zip at `path`.
    ValueError
        If there are no images, images outside class folders, "train" and "test" side by side, or a broken file.

    Examples
    --------
    >>> images = image_folder("pets", size=32)  # doctest: +SKIP
    >>> images  # doctest: +SKIP
    ImageSet('pets': 7390 images of 32×32, 37 classes)
    """
    path, size = Path(path), whole_number("size", size, 1)
    with opened(path) as (names, read):
        names = sorted((name for name in names if is_image(name)), key=lambda name: name.split("/"))
        of_class = class_names(path, names)
        classes = sorted(set(of_class))
        images = decoded(path, names, read, size)
    return ImageSet(path.stem, images, torch.tensor([classes.index(name) for name in of_class]), classes)


def decoded(path: Path, names: Sequence, read: Callable[[str], bytes], size: int) -> torch.Tensor:
    """The images called `names`, in this order: uint8 (n, 3, size, size). `path` is only named in errors."""
    images = np.empty((len(names), 3, size, size), np.uint8)
    with progress_bar(len(names), path.stem, unit="images") as bar:
        for i, name in enumerate(names):
            try:
                image = opened_image(read(name)).resize((size, size), Image.Resampling.BILINEAR)
            except (OSError, ValueError, SyntaxError, RuntimeError, zipfile.BadZipFile) as error:
                raise ValueError(f"{name} in {path} is not an image that can be read ({error}).") from error
            images[i] = np.asarray(image).transpose(2, 0, 1)
            bar.update()
    return torch.from_numpy(images)


def opened_image(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    if image.mode.startswith("I"):  # "I;16", or "I" for a PGM: `convert` would cut its 65,536 greys off at 255
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    return image.convert("RGB")


@contextmanager
def opened(path: Path) -> Iterator[tuple]:
    """The names of all files, with ``/`` between folders, and a function that reads the bytes of one."""
    if path.is_dir():
        names = [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]
        yield names, lambda name: (path / name).read_bytes()
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield archive.namelist(), archive.read
    else:
        raise FileNotFoundError(f"path={str(path)!r} is neither a folder nor a zip.")


def is_image(name: str) -> bool:
    hidden = any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
    return name.lower().endswith(ENDINGS) and not hidden


def class_names(path: Path, names: list[str]) -> list[str]:
    """The class of every image: the first folder that not all images share."""
    if not names:
        raise ValueError(f"{path} holds no images: expected class/name with one of the endings {', '.join(ENDINGS)}.")
    folders = [posixpath.dirname(name) for name in names]
    wrapping = posixpath.commonpath(folders)
    if set(folders) == {wrapping}:  # a single class
        wrapping = posixpath.dirname(wrapping)
    parts = [PurePosixPath(name).relative_to(wrapping).parts for name in names]
    if bare := [name for name, (*folder, _) in zip(names, parts, strict=True) if not folder]:
        raise ValueError(f"{bare[0]} in {path} lies in no class folder: expected class/name.")
    found = [first for first, *_ in parts]
    if {name.lower() for name in found} <= SPLITS:
        raise ValueError(f"{path} holds {' and '.join(sorted(set(found)))}, not classes: read each of them on its own.")
    return found
