"""Any map-style dataset of (image, label) as an `ImageSet`.

Plain plumbing: `attn_lessons.training.fit` takes torchvision's datasets, or your own, through it.
"""

import operator

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from ..progress import progress_bar
from .image_set import ImageSet


def as_image_set(dataset: ImageSet | Dataset, name: str | None = None) -> ImageSet:
    """Every item of `dataset`, read once, in its order.

    Parameters
    ----------
    dataset : ImageSet or map-style dataset
        With ``len(dataset)`` and items (image, label). An image is a PIL image, or a tensor (C, H, W), C 1 or 3, uint8
        or floating-point from 0 to 1; all have one size. What its transforms draw at random is drawn once: augmentation
        belongs into the recipe. Its attribute ``classes`` names the labels, or that of the dataset that it is part of.
    name : str, optional
        Default: the name of its class.

    Raises
    ------
    TypeError, ValueError
        If an item is something else, in one sentence that names it.

    Examples
    --------
    >>> from torch.utils.data import TensorDataset
    >>> as_image_set(TensorDataset(torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 1, 2])))
    ImageSet('TensorDataset': 4 images of 8×8, 3 classes)
    """
    if isinstance(dataset, ImageSet):
        return dataset
    kind = type(dataset).__name__
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise TypeError(
            f"{kind} is no map-style dataset: hand over an ImageSet, or what has len() and items (image, label)."
        )
    images, labels = None, torch.empty(len(dataset), dtype=torch.int64)
    with progress_bar(len(dataset), kind, show=len(dataset) > 1000, unit="images") as bar:
        for i in range(len(dataset)):
            image, label = image_and_label(dataset, i)
            images = torch.empty(len(dataset), *image.shape, dtype=torch.uint8) if images is None else images
            if image.shape != images.shape[1:]:
                shapes = f"{tuple(image.shape)}, and the first {tuple(images.shape[1:])}"
                raise ValueError(f"image {i} of this {kind} has shape {shapes}: resize them in its transform.")
            images[i], labels[i] = image, label
            bar.update()
    of_all = getattr(dataset, "dataset", None)  # of a Subset
    classes = (
        getattr(dataset, "classes", None) or getattr(of_all, "classes", None) or map(str, range(int(labels.max()) + 1))
    )
    return ImageSet(name or kind, images, labels, tuple(classes))


def image_and_label(dataset: Dataset, i: int) -> tuple[torch.Tensor, int]:
    """uint8 (3, H, W) and an int, or one sentence."""
    where = f"item {i} of this {type(dataset).__name__}"
    item = dataset[i]
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise TypeError(f"{where} is not (image, label): it is a {type(item).__name__}.")
    image, label = item
    if isinstance(image, Image.Image):
        image = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    if not isinstance(image, torch.Tensor) or image.dim() != 3 or image.shape[0] not in (1, 3):
        shape = tuple(image.shape) if isinstance(image, torch.Tensor) else type(image).__name__
        raise TypeError(f"{where} has no image (3, H, W) or (1, H, W), as a tensor or PIL's: it is {shape}.")
    if image.is_floating_point():
        if not 0 <= image.min() <= image.max() <= 1:
            low, high = image.min().item(), image.max().item()
            raise ValueError(f"{where} goes from {low:.3g} to {high:.3g}, not 0 to 1: leave Normalize to the training.")
        image = (255 * image).round()
    try:
        return image.to(torch.uint8).expand(3, -1, -1), operator.index(label)
    except TypeError:
        raise TypeError(f"{where} has the label {label!r}, which is no whole number.") from None
