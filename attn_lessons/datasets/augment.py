"""Augmentation of whole batches, on the device where they are: each function is a few tensor lines.

Lesson 09 takes them apart. Every function takes uint8 or floating-point images
(n, C, H, W), makes one draw for each image (`mixup` and `cutmix`: one for the batch), and repeats itself when given a
generator with the same seed. The generator must live on the same device as the images. What they draw has the
distribution of torchvision.transforms.v2.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from ..arguments import whole_number

MEAN, STD = 0.5, 0.25  # of levels from 0 to 1; rough is enough, since batch normalisation follows


def random_crop(images: torch.Tensor, padding: int = 4, generator: torch.Generator | None = None) -> torch.Tensor:
    """Move each image by up to `padding` pixels down or up and right or left; what comes in is zero.

    Parameters
    ----------
    images : torch.Tensor
        (n, C, H, W).
    padding : int, default 4
        All (2 · padding + 1)² shifts are equally likely.
    generator : torch.Generator, optional

    Returns
    -------
    torch.Tensor
        Same shape and dtype: pad each image with zeros on all sides, cut out H×W pixels.

    Examples
    --------
    >>> random_crop(torch.ones(5, 3, 32, 32), padding=4).shape
    torch.Size([5, 3, 32, 32])
    """
    n, _, height, width = check(images)
    whole_number("padding", padding, 0)
    padded = F.pad(images, [padding] * 4)  # (n, C, H + 2p, W + 2p)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (n, C, 2p + 1, 2p + 1, H, W), a view
    top, left = torch.randint(2 * padding + 1, (2, n), generator=generator, device=images.device)
    return windows[torch.arange(n, device=images.device), :, top, left]  # (n, C, H, W)


def random_flip(images: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """Mirror each image left to right with probability 1/2. Shapes as in `random_crop`.

    Examples
    --------
    >>> random_flip(torch.ones(5, 3, 32, 32)).shape
    torch.Size([5, 3, 32, 32])
    """
    n, *_ = check(images)
    flipped = torch.rand(n, 1, 1, 1, generator=generator, device=images.device) < 0.5
    return torch.where(flipped, images.flip(3), images)


def cutout(images: torch.Tensor, size: int = 8, generator: torch.Generator | None = None) -> torch.Tensor:
    """Set a square of size×size pixels to zero in each image (DeVries and Taylor 2017, arXiv:1708.04552).

    Its centre may be any pixel: near the border, a part of the square falls outside and less is lost. Shapes as in
    `random_crop`.

    Examples
    --------
    >>> holes = cutout(torch.ones(5, 3, 32, 32), size=8)[:, 0] == 0
    >>> bool((holes.sum((1, 2)) <= 64).all())
    True
    """
    n, _, height, width = check(images)
    whole_number("size", size, 1)
    row, column = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    top = torch.randint(height, (n, 1), generator=generator, device=images.device) - size // 2
    left = torch.randint(width, (n, 1), generator=generator, device=images.device) - size // 2
    in_rows = (row >= top) & (row < top + size)  # (n, H)
    in_columns = (column >= left) & (column < left + size)  # (n, W)
    return images.masked_fill((in_rows[:, :, None] & in_columns[:, None, :])[:, None], 0)


def mixup(images: torch.Tensor, labels: torch.Tensor, num_classes: int,
          generator: torch.Generator | None = None) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Lay each image over the one before it in the batch (Zhang et al. 2018, arXiv:1710.09412).

    Parameters
    ----------
    images : torch.Tensor
        (n, C, H, W), in random order.
    labels : torch.Tensor
        int64 (n,).
    num_classes : int

    Returns
    -------
    images : torch.Tensor
        Same shape and dtype: λ of each image and 1 − λ of the one before it. λ is one number for the batch, uniform
        from 0 to 1: the Beta(1, 1) of the paper.
    labels : torch.Tensor
        float32 (n, num_classes), λ and 1 − λ at the two labels: what `torch.nn.functional.cross_entropy` takes, too.

    Examples
    --------
    >>> _, labels = mixup(torch.ones(2, 3, 8, 8), torch.tensor([0, 2]), 3, torch.Generator().manual_seed(0))
    >>> labels
    tensor([[0.4963, 0.0000, 0.5037],
            [0.5037, 0.0000, 0.4963]])
    """
    check(images)
    fraction = torch.rand((), generator=generator, device=images.device)
    exact = images.to(torch.promote_types(images.dtype, torch.float32))
    out = torch.lerp(exact.roll(1, 0), exact, fraction.to(exact))
    out = (out if images.is_floating_point() else out.round()).to(images.dtype)
    return out, mixed_labels(labels, num_classes, fraction)


def cutmix(images: torch.Tensor, labels: torch.Tensor, num_classes: int,
           generator: torch.Generator | None = None) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Paste into each image a rectangle of the one before it (Yun et al. 2019, arXiv:1905.04899).

    The rectangle is the same for the whole batch: its area is uniform from 0 to all, its centre any pixel, what lies
    outside the image is lost. Parameters as in `mixup`. The labels are weighted by the pixels that each one has.

    Examples
    --------
    >>> images, labels = cutmix(torch.rand(4, 3, 8, 8), torch.arange(4), 4)
    >>> images.shape, labels.sum(1)
    (torch.Size([4, 3, 8, 8]), tensor([1., 1., 1., 1.]))
    """
    _, _, height, width = check(images)
    draws = torch.rand(3, generator=generator, device=images.device)
    half = 0.5 * draws[0].sqrt()  # of the side
    inside = []
    for side, centre in ((height, draws[1]), (width, draws[2])):
        centre, reach = (centre * side).floor(), (half * side).floor()
        pixel = torch.arange(side, device=images.device)
        inside.append((pixel >= centre - reach) & (pixel < centre + reach))
    inside = inside[0][:, None] & inside[1]  # (H, W)
    return torch.where(inside, images.roll(1, 0), images), mixed_labels(labels, num_classes, 1 - inside.float().mean())


def mixed_labels(labels: torch.Tensor, num_classes: int, fraction: torch.Tensor) -> torch.Tensor:
    """`fraction` at each label, the rest at the one before it in the batch: (n,) → (n, num_classes)."""
    own = F.one_hot(labels, whole_number("num_classes", num_classes, 1)).float()
    return torch.lerp(own.roll(1, 0), own, fraction)


def normalise(images: torch.Tensor, mean: float | Sequence[float] = MEAN,
              std: float | Sequence[float] = STD) -> torch.Tensor:  # fmt: skip
    """uint8 levels 0 to 255 → float32 (level / 255 − mean) / std, for each channel.

    Parameters
    ----------
    images : torch.Tensor
        uint8 (n, C, H, W).
    mean, std : float or one float a channel, default 0.5 and 0.25
        In levels from 0 to 1.

    Raises
    ------
    TypeError
        If `images` are not uint8: they have been normalised before.

    Examples
    --------
    >>> normalise(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)).max()
    tensor(2.)
    """
    if images.dtype != torch.uint8:
        raise TypeError(f"normalise takes uint8 images, levels 0 to 255; these are {images.dtype}.")
    mean, std = (torch.as_tensor(value, dtype=torch.float32, device=images.device) for value in (mean, std))
    scale, shift = (value.reshape(-1, 1, 1) for value in (1 / (255 * std), mean / std))
    return images.float().mul_(scale).sub_(shift)  # in place: ten times as fast as images * scale - shift on one core


def check(images: torch.Tensor) -> torch.Size:
    """The shape (n, C, H, W) of `images`, or one sentence."""
    if images.dim() != 4:
        raise ValueError(f"images must have shape (n, C, H, W); these have shape {tuple(images.shape)}.")
    return images.shape
