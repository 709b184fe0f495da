"""Augmentation of whole batches, on the device where they are: each function is a few tensor lines.

Lesson 09 takes them apart. Every function takes uint8 or floating-point images
(n, C, H, W), makes one draw for each image (`mixup` and `cutmix`: one for the batch), and repeats itself when given a
generator with the same seed. The generator must live on the same device as the images. What they draw has the
distribution of torchvision.transforms.v2.
"""

from __future__ import annotations

import math
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


def color_jitter(
    images: torch.Tensor,
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.4,
    hue: float = 0.1,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Change brightness, contrast, saturation and hue of each image, in an order of its own.

    Parameters
    ----------
    images : torch.Tensor
        uint8 (n, 3, H, W).
    brightness, contrast, saturation : float, default 0.4
        Each draws a factor between 1 − value and 1 + value, never below 0: 0 gives a black, a plain grey and a grey
        image, 1 changes nothing.
    hue : float, default 0.1
        Turn the colour circle by up to this part of a full turn, either way; at most 0.5.

    Returns
    -------
    torch.Tensor
        uint8, same shape. Levels are rounded once, at the end; torchvision cuts their fractions off after every step.

    Examples
    --------
    >>> color_jitter(torch.zeros(5, 3, 32, 32, dtype=torch.uint8)).unique()
    tensor([0], dtype=torch.uint8)
    """
    check(images)
    if images.dtype != torch.uint8 or images.shape[1] != 3:
        raise TypeError(f"color_jitter takes uint8 images of 3 channels; these are {images.dtype}, {images.shape[1]}.")
    strengths = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
    for argument, value in strengths.items():
        if value < 0:
            raise ValueError(f"{argument}={value} must be at least 0.")
    if hue > 0.5:
        raise ValueError(f"hue={hue} must be at most 0.5, half a turn.")
    factors, order = jitters(images, list(strengths.values()), generator)
    images = images / 255
    for step in order.unbind(1):
        for k, adjust in enumerate((adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)):
            (now,) = torch.nonzero(step == k, as_tuple=True)  # the images whose turn it is for this change
            images[now] = adjust(images[now], factors[now, k].reshape(-1, 1, 1, 1))
    return (255 * images).round().to(torch.uint8)


def jitters(
    images: torch.Tensor, strengths: Sequence[float], generator: torch.Generator | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """For each image how much of the four changes, and which of them (0 to 3) comes when: (n, 4) both."""
    low = torch.tensor([max(0.0, 1 - value) for value in strengths[:3]] + [-strengths[3]])
    high = torch.tensor([1 + value for value in strengths[:3]] + [strengths[3]])
    draws = torch.rand(2, len(images), 4, generator=generator, device=images.device)
    return low.to(draws) + draws[0] * (high - low).to(draws), draws[1].argsort(1)


# The four take images with levels from 0 to 1, (n, 3, H, W), and one factor an image, (n, 1, 1, 1).
def adjust_brightness(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    return (images * factor).clamp(0, 1)


def adjust_contrast(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    return torch.lerp(grey(images).mean((2, 3), keepdim=True), images, factor).clamp(0, 1)


def adjust_saturation(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    return torch.lerp(grey(images), images, factor).clamp(0, 1)


def adjust_hue(images: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
    """Turn the colour circle; the largest and the smallest of the three levels of a pixel stay what they are."""
    red, green, blue = images.split(1, 1)  # (n, 1, H, W) each
    top, bottom = images.amax(1, keepdim=True), images.amin(1, keepdim=True)
    spread = top - bottom
    safe = torch.where(spread > 0, spread, 1)
    hue = torch.where(top == red, (green - blue) / safe,
                      torch.where(top == green, 2 + (blue - red) / safe, 4 + (red - green) / safe))  # fmt: skip
    sixths = torch.tensor([5, 3, 1], device=images.device).reshape(1, 3, 1, 1)  # where red, green, blue are lowest + 1
    away = (sixths + hue + 6 * turn) % 6  # (n, 3, H, W)
    return top - spread * torch.minimum(away, 4 - away).clamp(0, 1)


def grey(images: torch.Tensor) -> torch.Tensor:
    """How bright a pixel looks: (n, 3, H, W) → (n, 1, H, W)."""
    weights = torch.tensor([0.2989, 0.587, 0.114], device=images.device)  # as in television, ITU-R BT.601
    return torch.einsum("nchw,c->nhw", images, weights)[:, None]


def random_resized_crop(
    images: torch.Tensor,
    size: int | None = None,
    scale: tuple[float, float] = (0.08, 1),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Cut a rectangle out of each image and resize it (Szegedy et al. 2015, arXiv:1409.4842).

    Parameters
    ----------
    images : torch.Tensor
        (n, C, H, W).
    size : int, optional
        Pixels along each side of the result. Default: as before.
    scale : pair of float, default (0.08, 1)
        Smallest and largest part of the area of the image.
    ratio : pair of float, default (3/4, 4/3)
        Smallest and largest width / height.

    Returns
    -------
    torch.Tensor
        (n, C, size, size), same dtype. Every pixel is a mean, over a triangle, of those below it.

    Examples
    --------
    >>> random_resized_crop(torch.ones(5, 3, 32, 32), size=24).shape
    torch.Size([5, 3, 24, 24])
    """
    _, _, height, width = check(images)
    if size is not None:
        whole_number("size", size, 1)
    if not (0 < scale[0] <= scale[1] and 0 < ratio[0] <= ratio[1]):
        raise ValueError(f"scale={scale} and ratio={ratio} must each be two positive numbers, the smaller one first.")
    top, left, tall, wide = boxes(images, scale, ratio, generator)
    exact = images.to(torch.promote_types(images.dtype, torch.float32))
    rows = resizing(top, tall, height, size or height).to(exact)[:, None]  # (n, 1, size, H)
    columns = resizing(left, wide, width, size or width).to(exact)[:, None]  # (n, 1, size, W)
    out = rows @ exact @ columns.mT
    return (out if images.is_floating_point() else out.round()).to(images.dtype)


def boxes(images: torch.Tensor, scale: tuple, ratio: tuple, generator: torch.Generator | None) -> torch.Tensor:
    """Top, left, height and width of a rectangle in each image, (4, n), in pixels.

    The first of ten throws that fits; should none, the largest rectangle in the middle whose ratio is allowed.
    """
    n, _, height, width = images.shape
    draws = torch.rand(4, n, 10, generator=generator, device=images.device)
    area = height * width * (scale[0] + (scale[1] - scale[0]) * draws[0])
    log_ratio = math.log(ratio[0]) + math.log(ratio[1] / ratio[0]) * draws[1]
    wide = (area * log_ratio.exp()).sqrt().round()  # (n, 10)
    tall = (area / log_ratio.exp()).sqrt().round()
    fits = (wide > 0) & (wide <= width) & (tall > 0) & (tall <= height)
    first = fits.int().argmax(1, keepdim=True)
    wide = torch.where(fits.any(1), wide.gather(1, first)[:, 0], min(width, round(height * ratio[1])))
    tall = torch.where(fits.any(1), tall.gather(1, first)[:, 0], min(height, round(width / ratio[0])))
    room = torch.stack([height - tall, width - wide])  # (2, n)
    corner = torch.where(fits.any(1), (draws[2:, :, 0] * (room + 1)).floor().minimum(room), (room / 2).floor())
    return torch.cat([corner, torch.stack([tall, wide])])


def resizing(start: torch.Tensor, length: torch.Tensor, pixels: int, size: int) -> torch.Tensor:
    """For each image, how much of each of its `pixels` goes into each of `size` new ones: (n, size, pixels)."""
    step = (length / size)[:, None, None]  # old pixels to a new one
    centre = start[:, None, None] + step * (torch.arange(size, device=start.device)[:, None] + 0.5)
    old = torch.arange(pixels, device=start.device)
    inside = (old >= start[:, None, None]) & (old < (start + length)[:, None, None])
    weight = (1 - abs(old + 0.5 - centre) / step.clamp(min=1)).clamp(min=0) * inside
    return weight / weight.sum(2, keepdim=True)


def mixup(
    images: torch.Tensor, labels: torch.Tensor, num_classes: int, generator: torch.Generator | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
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
    whole_number("num_classes", num_classes, 1)
    fraction = torch.rand((), generator=generator, device=images.device)
    exact = images.to(torch.promote_types(images.dtype, torch.float32))
    out = torch.lerp(exact.roll(1, 0), exact, fraction.to(exact))
    out = (out if images.is_floating_point() else out.round()).to(images.dtype)
    return out, mixed_labels(labels, num_classes, fraction)


def cutmix(
    images: torch.Tensor, labels: torch.Tensor, num_classes: int, generator: torch.Generator | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
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
    whole_number("num_classes", num_classes, 1)
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
    """`share` at each label, the rest at the one before it in the batch: (n,) → (n, num_classes)."""
    own = F.one_hot(labels, num_classes).float()
    return torch.lerp(own.roll(1, 0), own, fraction)


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


def check(images: torch.Tensor) -> torch.Size:
    """The shape (n, C, H, W) of `images`, or one sentence."""
    if images.dim() != 4:
        raise ValueError(f"images must have shape (n, C, H, W); these have shape {tuple(images.shape)}.")
    return images.shape
