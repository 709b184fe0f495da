"""What a trained network says of a photograph.

Used in docs/your_images.md.
"""

import os
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from ..datasets.image_file import BROKEN, read_image
from ..measure import evaluation_mode
from .feature_maps import network_input


def read_photograph(photo: str | os.PathLike, size: tuple[int, int] | None = None) -> torch.Tensor:
    """uint8 (3, H, W), resized to `size` whatever the proportions, or one sentence if there is no image to read."""
    path = Path(photo)
    if not path.is_file():
        raise FileNotFoundError(f"there is no photograph at {path}.")
    try:
        return read_image(path.read_bytes(), size)
    except BROKEN as error:
        raise ValueError(f"{path} is not an image that can be read ({error}).") from error


def size_of_images(network: nn.Module) -> tuple[int, int]:
    about = getattr(network, "about", {})
    if "size" in about:
        return tuple(about["size"])
    side = 64 if about.get("network") == "GlyphNet" else about.get("arguments", {}).get("image_size")
    if side:  # of a network that the course has recorded
        return side, side
    raise ValueError("this network does not say how large its images are: set network.about = {'size': (224, 224)}.")


@torch.no_grad()
def class_probabilities(network: nn.Module, images: torch.Tensor) -> pd.DataFrame:
    """One row per image, uint8 (n, 3, H, W), and a column for each class."""
    with evaluation_mode(network):
        logits = torch.cat([network(network_input(network, part)) for part in images.split(64)])
    names = getattr(network, "about", {}).get("classes") or range(logits.shape[1])
    return pd.DataFrame(logits.softmax(1).cpu().numpy(), columns=list(names))


def classify(network: nn.Module | tuple[nn.Module, dict], photo: str | os.PathLike, top: int = 5) -> pd.Series:
    """The most probable classes of one photograph.

    Parameters
    ----------
    network : nn.Module
        What `attn_lessons.models.trained` returns, or its network alone: any network whose ``about`` has the ``size``
        of its images, as every one has that `attn_lessons.training.fit` has trained.
    photo : path
        Resized to that size, whatever its proportions, as the images to train on were.
    top : int, default 5

    Returns
    -------
    pandas.Series
        Class → probability, the largest first.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no image to read, or the network does not say how large its images are.

    Examples
    --------
    >>> from attn_lessons.models import trained
    >>> network = trained("runs/pets")  # doctest: +SKIP
    >>> classify(network, "photo.jpg", top=2)  # doctest: +SKIP
    cat    0.93
    dog    0.05
    """
    network = network[0] if isinstance(network, tuple) else network
    image = read_photograph(photo, size_of_images(network))
    return class_probabilities(network, image[None]).iloc[0].nlargest(top).rename("probability")
