"""ImageSet: images, labels and, where they are known, masks, each as one tensor.

Introduced in lesson 01.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F


@dataclass(eq=False, repr=False)
class ImageSet:
    """Labelled images that lie in memory as they are: no loader, no transform, no copy until you ask for one.

    Parameters
    ----------
    name : str
        What to call the images in prose: "GlyphWorld key".
    images : torch.Tensor
        uint8 (n, 3, H, W), levels 0 to 255.
    labels : torch.Tensor
        int64 (n,), each a position in `classes`.
    classes : tuple of str
        The names of the labels.
    masks : dict of str to torch.Tensor, optional
        bool (n, H, W) each. GlyphWorld has "target", "cue" and "distractors"; photographs have none.
    files : tuple of str, optional
        The name of the file that each image was read from.

    Raises
    ------
    TypeError, ValueError
        If a tensor has another dtype or shape, or a label names no class.

    Examples
    --------
    >>> import torch
    >>> images = ImageSet("noise", torch.zeros(5, 3, 8, 8, dtype=torch.uint8), torch.arange(5) % 2, ("a", "b"))
    >>> images[1:4]
    ImageSet('noise': 3 images of 8×8, 2 classes)
    >>> len(images[images.labels == 0])
    3
    """

    name: str
    images: torch.Tensor
    labels: torch.Tensor
    classes: tuple[str, ...]
    masks: dict[str, torch.Tensor] = field(default_factory=dict)
    files: tuple[str, ...] = ()

    def __post_init__(self):
        self.classes = tuple(self.classes)
        check("images", self.images, torch.uint8, (None, 3, None, None))
        n, _, height, width = self.images.shape
        check("labels", self.labels, torch.int64, (n,))
        for name, mask in self.masks.items():
            check(f"masks[{name!r}]", mask, torch.bool, (n, height, width))
        known = len(self.classes)
        if n and not 0 <= self.labels.min() <= self.labels.max() < known:
            low, high = self.labels.min().item(), self.labels.max().item()
            raise ValueError(f"labels go from {low} to {high}; with {known} classes they must lie in 0 to {known - 1}.")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, which: slice | torch.Tensor) -> "ImageSet":
        """The chosen images: a slice, a tensor of positions, or a bool tensor with one entry per image."""
        if not isinstance(which, slice) and not (isinstance(which, torch.Tensor) and which.dim() == 1):
            raise TypeError(f"images[{which!r}] does not choose a set: give a slice, as in images[3:4], or a tensor.")
        files = tuple(self.files[i] for i in torch.arange(len(self))[which]) if self.files else ()
        return replace(self.map(lambda tensor: tensor[which]), files=files)

    def to(self, device: torch.device | str) -> "ImageSet":
        """The same images on another device."""
        return self.map(lambda tensor: tensor.to(device))

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> "ImageSet":
        """`function` of every tensor."""
        masks = {name: function(mask) for name, mask in self.masks.items()}
        return replace(self, images=function(self.images), labels=function(self.labels), masks=masks)

    def halved(self) -> "ImageSet":
        """The same images at half their height and width: each pixel the mean of four, masks where any of four is."""
        parts = self.images.split(1000)  # as floats, all of them would take several times their memory
        images = torch.cat([F.avg_pool2d(part.float(), 2).round().to(torch.uint8) for part in parts])
        masks = {name: mask.unfold(1, 2, 2).unfold(2, 2, 2).any(-1).any(-1) for name, mask in self.masks.items()}
        return replace(self, images=images, masks=masks)

    def __repr__(self) -> str:
        height, width = self.images.shape[2:]
        return f"ImageSet({self.name!r}: {len(self)} images of {height}×{width}, {len(self.classes)} classes)"


def check(argument: str, tensor: torch.Tensor, dtype: torch.dtype, shape: tuple[int | None, ...]) -> None:
    """Refuse, in one sentence, anything but a tensor of this dtype and shape; None stands for any size."""
    wanted = f"{argument} must be a {dtype} tensor of shape {shape}".replace("None", "any")
    if not isinstance(tensor, torch.Tensor) or tensor.dtype != dtype:
        raise TypeError(f"{wanted}; this is {getattr(tensor, 'dtype', type(tensor).__name__)}.")
    if tensor.dim() != len(shape) or any(size not in (None, n) for size, n in zip(shape, tensor.shape, strict=True)):
        raise ValueError(f"{wanted}; this one has shape {tuple(tensor.shape)}.")
