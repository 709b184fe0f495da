"""Images from a folder or a zip, one sub-folder a class, as one tensor.

Plain plumbing: the photographs of the recorded runs are read with it, and Tiny-ImageNet.
"""

import os
import posixpath
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import torch

from ..arguments import whole_number
from ..progress import progress_bar
from .image_file import BROKEN, files_under, is_image, read_image
from .image_set import ImageSet

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
        images uint8 (n, 3, size, size), read by `attn_lessons.datasets.image_file.read_image`. The classes are the
        names of the folders, sorted; the set is named after `path`. Files that are no images, and class folders without
        any, are left out, and one printed sentence counts them.

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
    with opened(path) as (found, read):
        visible = [name for name in found if not hidden(name)]
        files = [name for name in visible if not name.endswith("/")]
        names = [name for name in files if is_image(name, None if "." in posixpath.basename(name) else read(name))]
        names.sort(key=lambda name: name.split("/"))
        of_class, wrapping = class_names(path, names)
        classes = sorted(set(of_class))
        images = decoded(path, names, read, size)
    say_what_was_skipped(path, files, names)
    say_what_is_empty(path, visible, {posixpath.join(wrapping, name) for name in classes})
    labels = torch.tensor([classes.index(name) for name in of_class])
    return ImageSet(path.stem, images, labels, classes, files=tuple(names))


def decoded(path: Path, names: Sequence, read: Callable[[str], bytes], size: int) -> torch.Tensor:
    """The images called `names`, in this order: uint8 (n, 3, size, size). `path` is only named in errors."""
    images = torch.empty(len(names), 3, size, size, dtype=torch.uint8)
    with progress_bar(len(names), path.stem, unit="images") as bar:
        for i, name in enumerate(names):
            try:
                images[i] = read_image(read(name), (size, size))
            except (*BROKEN, zipfile.BadZipFile) as error:
                raise ValueError(f"{name} in {path} is not an image that can be read ({error}).") from error
            bar.update()
    return images


def say_what_was_skipped(path: Path, files: list[str], names: list[str]) -> None:
    """One sentence that counts the `files` that are no images; `names` are those that are."""
    kinds = Counter(PurePosixPath(name).suffix.lower() or "without ending" for name in set(files) - set(names))
    if kinds:
        kinds = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common())
        print(f"{path.name}: {len(files):,} files, {len(names):,} read, {len(files) - len(names):,} skipped: {kinds}.")


def say_what_is_empty(path: Path, visible: list[str], used: set[str]) -> None:
    """One sentence about folders beside the classes, `used`, that hold no images."""
    depth = min(name.count("/") for name in used)
    beside = {name.rstrip("/") for name in visible if name.endswith("/") and name.count("/") == depth + 1}
    if empty := sorted(beside - used):
        print(f"{path.name}: no image in {', '.join(empty)}: not a class.")


@contextmanager
def opened(path: Path) -> Iterator[tuple]:
    """The names of all files and folders, as `files_under` gives them, and a function that reads the bytes of one."""
    if path.is_dir():
        yield files_under(path), lambda name: (path / name).read_bytes()
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield archive.namelist(), archive.read
    else:
        raise FileNotFoundError(f"path={str(path)!r} is neither a folder nor a zip.")


def hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) or part == "Thumbs.db" for part in name.split("/"))


def class_names(path: Path, names: list[str]) -> tuple[list[str], str]:
    """The class of every image, the first folder that not all images share; and the folders that they all share."""
    if not names:
        raise ValueError(f"{path} holds no images: expected class/name.jpg, or another kind that Pillow reads.")
    folders = [posixpath.dirname(name) for name in names]
    wrapping = posixpath.commonpath(folders)
    if set(folders) == {wrapping}:  # a single class
        wrapping = posixpath.dirname(wrapping)
    parts = [PurePosixPath(name).relative_to(wrapping).parts for name in names]
    if bare := [name for name, (*folder, _) in zip(names, parts, strict=True) if not folder]:
        raise ValueError(f"{bare[0]} in {path} lies in no class folder: expected class/name.")
    found = [first for first, *_ in parts]
    if {name.lower() for name in found} <= SPLITS:
        splits = sorted(set(found))
        alone = f"read each of them on its own, {posixpath.join(path.name, wrapping, splits[-1])} for example"
        raise ValueError(f"{path} holds {' and '.join(splits)}, not classes: {alone}.")
    return found, wrapping
