"""CIFAR-10 and CIFAR-100: torchvision's files where they are, the Hugging Face Hub's where they are not.

Plain plumbing: lesson 09 trains on CIFAR-100.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch

from .download import data_folder, hub_file
from .folder import decoded
from .image_set import ImageSet

if TYPE_CHECKING:  # it takes as long to import as torch: only who asks for CIFAR waits for it
    from torchvision.datasets import CIFAR10

HUB = {  # repository, revision, folder, column of the labels, sha256 of the two files
    "CIFAR-10": (
        "uoft-cs/cifar10", "0b2714987fa478483af9968de7c934580d0bb9a2", "plain_text", "label",
        {"train": "8428b53a88a11ac374111006708df51469e315a22ac6d66470afd9c78d2ae883",
         "test": "841389e6f2d64f28bf17310e430aebac20ec3ba611a3c5e231dc93c645ce84de"},
    ),
    "CIFAR-100": (
        "uoft-cs/cifar100", "aadb3af77e9048adbea6b47c21a81e47dd092ae5", "cifar100", "fine_label",
        {"train": "694865d6b990e234804f01268586c41e88bcbbb75e20858432c05ad4081aca23",
         "test": "98776c529bb146a9c791229df74a5cf076be9b43d82dbbd334b6a7788d73dc68"},
    ),
}  # fmt: skip


def cifar10(download: bool = True) -> tuple[ImageSet, ImageSet]:
    """50,000 images to train on and 10,000 to test with, 10 classes.

    Parameters
    ----------
    download : bool, default True
        Fetch 144 MB from the Hugging Face Hub where `data_folder` has neither the Hub's files nor torchvision's: the
        archive, or the folder that it unpacks to.

    Returns
    -------
    tuple of two ImageSet
        images uint8 (50000, 3, 32, 32) and (10000, 3, 32, 32). The Hub's files need not have torchvision's order.

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

    return from_torchvision(CIFAR10, "CIFAR-10") or from_hub("CIFAR-10", download)


def cifar100(download: bool = True) -> tuple[ImageSet, ImageSet]:
    """50,000 images to train on and 10,000 to test with, 100 classes. As `cifar10`, 142 MB."""
    from torchvision.datasets import CIFAR100

    return from_torchvision(CIFAR100, "CIFAR-100") or from_hub("CIFAR-100", download)


def from_torchvision(kind: type[CIFAR10], name: str) -> tuple[ImageSet, ImageSet] | None:
    """Both sets from torchvision's folder or archive, or None.

    Their files are pickles, which can run any code when they are read: torchvision reads none whose checksum is wrong.
    """
    from torchvision.datasets.utils import check_integrity, extract_archive

    def read(root: str | Path) -> list[CIFAR10] | None:
        try:
            return [kind(root, train) for train in (True, False)]
        except RuntimeError:  # a file is missing, or its checksum is wrong
            return None

    folder, archive = data_folder() / kind.base_folder, data_folder() / kind.filename
    sets = read(data_folder())
    if sets is None and check_integrity(archive, kind.tgz_md5):
        with TemporaryDirectory() as unpacked:  # elsewhere: nothing can be left half done
            extract_archive(archive, unpacked)
            sets = read(unpacked)
    if sets is None:
        for path in filter(Path.exists, (folder, archive)):
            print(f"{path} is incomplete or altered (a checksum is wrong): not read.")
        return None
    return tuple(ImageSet(name, torch.from_numpy(one.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(one.targets),
                          one.classes) for one in sets)  # fmt: skip


def from_hub(name: str, download: bool) -> tuple[ImageSet, ImageSet]:
    """Both sets from the Hub's files: tables with the images as PNG."""
    from pyarrow.parquet import read_table

    repository, revision, folder, column, sha256 = HUB[name]

    def image_set(part: str) -> ImageSet:
        file = f"{folder}/{part}-00000-of-00001.parquet"
        path = hub_file(repository, revision, file, sha256[part], name.lower(), download)
        table = read_table(path, columns=["img", column])
        pngs = [image["bytes"] for image in table["img"].to_pylist()]
        features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
        classes = ["crab" if one == "cra" else one for one in features[column]["names"]]  # a slip of the Hub's
        images = decoded(path, range(len(pngs)), pngs.__getitem__)
        return ImageSet(name, images, torch.tensor(table[column].to_pylist()), classes)

    return image_set("train"), image_set("test")
