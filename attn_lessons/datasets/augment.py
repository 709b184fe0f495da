"""Augmentation of whole batches, on the device where they are: each function is a few tensor lines.

Lesson 02 uses them on small pictures; lesson 09 takes them apart. Every function takes uint8 or floating-point pictures
(n, C, H, W), makes one draw for each picture, and repeats itself when given a generator with the same seed. The
generator must live on the same device as the pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

MEAN, STD = 0.5, 0.25  # of levels from 0 to 1; rough is enough, since batch normalisation follows


def random_crop(images: torch.Tensor, padding: int = 4, generator: torch.Generator | None = None) -> torch.Tensor:
    """Move each picture by up to `padding` pixels down or up and right or left; what comes in is zero.

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
        Same shape and dtype: pad each picture with zeros on all sides, cut out H×W pixels.

    Examples
    --------
    >>> random_crop(torch.ones(5, 3, 32, 32), padding=4).shape
    torch.Size([5, 3, 32, 32])
    """
    n, _, height, width = check(images, "padding", padding, 0)
    padded = F.pad(images, [padding] * 4)  # (n, C, H + 2p, W + 2p)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (n, C, 2p + 1, 2p + 1, H, W), a view
    top, left = torch.randint(2 * padding + 1, (2, n), generator=generator, device=images.device)
    return windows[torch.arange(n, device=images.device), :, top, left]  # (n, C, H, W)


def random_flip(images: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """Mirror each picture left to right with probability 1/2. Shapes as in `random_crop`.

    Examples
    --------
    >>> random_flip(torch.ones(5, 3, 32, 32)).shape
    torch.Size([5, 3, 32, 32])
    """
    n, *_ = check(images)
    heads = torch.rand(n, 1, 1, 1, generator=generator, device=images.device) < 0.5
    return torch.where(heads, images.flip(3), images)


def cutout(images: torch.Tensor, size: int = 8, generator: torch.Generator | None = None) -> torch.Tensor:
    """Set a square of size×size pixels to zero in each picture (DeVries and Taylor 2017, arXiv:1708.04552).

    Its centre may be any pixel: near the border, a part of the square falls outside and less is lost. Shapes as in
    `random_crop`.

    Examples
    --------
    >>> holes = cutout(torch.ones(5, 3, 32, 32), size=8)[:, 0] == 0
    >>> bool((holes.sum((1, 2)) <= 64).all())
    True
    """
    n, _, height, width = check(images, "size", size, 1)
    row, column = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    top = torch.randint(height, (n, 1), generator=generator, device=images.device) - size // 2
    left = torch.randint(width, (n, 1), generator=generator, device=images.device) - size // 2
    in_rows = (row >= top) & (row < top + size)  # (n, H)
    in_columns = (column >= left) & (column < left + size)  # (n, W)
    return images.masked_fill((in_rows[:, :, None] & in_columns[:, None, :])[:, None], 0)


def normalise(
    images: torch.Tensor, mean: float | Sequence[float] = MEAN, std: float | Sequence[float] = STD
) -> torch.Tensor:
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


def check(images: torch.Tensor, argument: str = "", value: int = 0, least: int = 0) -> torch.Size:
    """The shape (n, C, H, W) of `images`; one clear sentence if they have another, or if `argument` is too small."""
    if images.dim() != 4:
        raise ValueError(f"images must have shape (n, C, H, W); these have shape {tuple(images.shape)}.")
    if value < least:
        raise ValueError(f"{argument}={value} must be at least {least}.")
    return images.shape
