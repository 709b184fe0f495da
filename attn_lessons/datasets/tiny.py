"""Tiny-ImageNet: 200 classes of ImageNet at 64×64, read straight from its zip.

Plain plumbing: ``python -m attn_lessons.train`` takes it as ``--data tiny-imagenet``.
"""

import torch

from .download import hub_file
from .folder import decoded, opened
from .image_set import ImageSet

NAME = "tiny-imagenet-200"
SHA256 = "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821"


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
    path = hub_file("cnak47/cv-datasets", "main", f"{NAME}.zip", SHA256, download=download)
    with opened(path) as (files, read):

        def lines(name: str) -> list[list[str]]:
            return [line.split("\t") for line in read(f"{NAME}/{name}").decode().splitlines()]

        ids = sorted(name for (name,) in lines("wnids.txt"))  # n01443537, …
        words = dict(lines("words.txt"))
        train = {name: name.split("/")[2] for name in sorted(files) if "/train/" in name and name.endswith(".JPEG")}
        test = {f"{NAME}/val/images/{name}": of for name, of, *_ in lines("val/val_annotations.txt")}

        def image_set(of_class: dict[str, str]) -> ImageSet:
            labels = torch.tensor([ids.index(of) for of in of_class.values()])
            return ImageSet("Tiny-ImageNet", decoded(path, list(of_class), read), labels, [words[name] for name in ids])

        return image_set(train), image_set(test)
