"""CIFAR from torchvision's files or the Hugging Face Hub's, and Tiny-ImageNet, read straight from its zip.

Plain plumbing: lesson 09 trains on CIFAR-100; ``python -m attn_lessons.train`` takes all three as ``--data``.
"""

import json
from tempfile import TemporaryDirectory

import torch

from .download import data_folder, hub_file
from .folder import decoded, opened
from .image_set import ImageSet

HUB = {  # repository, revision, folder, column of the labels, sha256 of the two files
    "CIFAR-10": ("uoft-cs/cifar10", "0b2714987fa478483af9968de7c934580d0bb9a2", "plain_text", "label", {
        "train": "8428b53a88a11ac374111006708df51469e315a22ac6d66470afd9c78d2ae883",
        "test": "841389e6f2d64f28bf17310e430aebac20ec3ba611a3c5e231dc93c645ce84de"}),
    "CIFAR-100": ("uoft-cs/cifar100", "aadb3af77e9048adbea6b47c21a81e47dd092ae5", "cifar100", "fine_label", {
        "train": "694865d6b990e234804f01268586c41e88bcbbb75e20858432c05ad4081aca23",
        "test": "98776c529bb146a9c791229df74a5cf076be9b43d82dbbd334b6a7788d73dc68"}),
}  # fmt: skip
TINY = "tiny-imagenet-200"
TINY_SHA256 = "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821"


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
    return from_torchvision("CIFAR-10") or from_hub("CIFAR-10", download)


def cifar100(download: bool = True) -> tuple[ImageSet, ImageSet]:
    """50,000 images to train on and 10,000 to test with, 100 classes. As `cifar10`, 142 MB."""
    return from_torchvision("CIFAR-100") or from_hub("CIFAR-100", download)


def from_torchvision(name: str) -> tuple[ImageSet, ImageSet] | None:
    """Both sets from torchvision's folder or archive, or None.

    Their files are pickles, which can run any code when they are read: torchvision reads none whose checksum is wrong.
    """
    from torchvision import datasets  # takes as long to import as torch: only who asks for CIFAR waits for it

    kind = getattr(datasets, name.replace("-", ""))
    folder, archive = data_folder() / kind.base_folder, data_folder() / kind.filename
    with TemporaryDirectory() as unpacked:  # elsewhere: nothing can be left half done
        for root in (data_folder(), unpacked):
            if root == unpacked and datasets.utils.check_integrity(archive, kind.tgz_md5):
                datasets.utils.extract_archive(archive, unpacked)
            try:
                pair = [kind(root, train) for train in (True, False)]
            except RuntimeError:  # a file is missing, or its checksum is wrong
                continue
            images = [torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous() for part in pair]
            labels = [torch.tensor(part.targets) for part in pair]
            return tuple(ImageSet(name, *of, pair[0].classes) for of in zip(images, labels, strict=True))
    for path in folder, archive:
        if path.exists():
            print(f"{path} is incomplete or altered (a checksum is wrong): not read.")
    return None


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
        images = decoded(path, range(len(pngs)), pngs.__getitem__, 32)
        return ImageSet(name, images, torch.tensor(table[column].to_pylist()), classes)

    return image_set("train"), image_set("test")


def tiny_imagenet(download: bool = True) -> tuple[ImageSet, ImageSet]:
    """100,000 images to train on and, its validation set, 10,000 to test with, 200 classes.

    Parameters
    ----------
    download : bool, default True
        Fetch 248 MB from the Hugging Face Hub where the zip is not in `data_folder`.

    Returns
    -------
    tuple of two ImageSet
        images uint8 (100000, 3, 64, 64), 1.2 GB, and (10000, 3, 64, 64). Decoding them takes about a minute.

    Raises
    ------
    FileNotFoundError
        If the zip is not there, and `download` is False.
    DownloadError
        If it cannot be fetched.

    Examples
    --------
    >>> train, test = tiny_imagenet()  # doctest: +SKIP
    """
    path = hub_file("cnak47/cv-datasets", "main", f"{TINY}.zip", TINY_SHA256, download=download)
    with opened(path) as (files, read):

        def lines(name: str) -> list[list[str]]:
            return [line.split("\t") for line in read(f"{TINY}/{name}").decode().splitlines()]

        ids = sorted(name for (name,) in lines("wnids.txt"))  # n01443537, …
        words = dict(lines("words.txt"))
        train = {name: name.split("/")[2] for name in sorted(files) if "/train/" in name and name.endswith(".JPEG")}
        test = {f"{TINY}/val/images/{name}": of for name, of, *_ in lines("val/val_annotations.txt")}

        def image_set(of_class: dict[str, str]) -> ImageSet:
            labels = torch.tensor([ids.index(of) for of in of_class.values()])
            images = decoded(path, list(of_class), read, 64)
            return ImageSet("Tiny-ImageNet", images, labels, [words[name] for name in ids])

        return image_set(train), image_set(test)
