"""How well maps localise the object: scores against a ground-truth mask, each beside its chance level.

Introduced in lesson 03; energy and IoU in lesson 10.
"""

import pandas as pd
import torch
import torch.nn.functional as F

from ..datasets.image_set import check


def pointing_game(maps: torch.Tensor, masks: torch.Tensor) -> dict[str, float]:
    """The pointing game: how often the maximum of a map lies on the object.

    Parameters
    ----------
    maps : torch.Tensor
        (n, h, w), one map per image. They may be coarser than the masks: a cell is on the object if any of its pixels
        is.
    masks : torch.Tensor
        bool (n, H, W), the object in each image.

    Returns
    -------
    dict
        ``score``: the proportion of images whose maximum is on the object, 0 to 1. Tied maxima count in equal parts,
        so that a constant map scores as chance does. ``chance``: the expected score of a random position.

    Raises
    ------
    ValueError
        If `maps` is not one map per image, or not finite.

    Notes
    -----
    Zhang et al.: Top-down Neural Attention by Excitation Backprop. ECCV 2016. https://arxiv.org/abs/1608.00507

    Examples
    --------
    >>> maps = torch.tensor([[[0.1, 0.9], [0.2, 0.3]]])
    >>> pointing_game(maps, torch.tensor([[[False, True], [False, False]]]))
    {'score': 1.0, 'chance': 0.25}
    """
    check_maps(maps, masks)
    on_object = F.adaptive_max_pool2d(masks.float(), maps.shape[1:]).to(maps.device)  # (n, h, w), 0 or 1
    highest = (maps == maps.amax((1, 2), keepdim=True)).float()
    hit = (highest * on_object).sum((1, 2)) / highest.sum((1, 2))
    return {"score": hit.mean().item(), "chance": on_object.mean().item()}


def spatial_map(seen: dict[str, dict[str, torch.Tensor]]) -> torch.Tensor | None:
    """The product of all spatial gates, (B, H, W), from what `watch` recorded; None if there is no spatial gate.

    Coordinate attention enters with the mean of its gates over the channels. The maps must have equal size.

    Raises
    ------
    ValueError
        If the maps have different sizes.

    Examples
    --------
    >>> from attn_lessons.attention import CBAM, watch
    >>> with watch(cbam := CBAM(32)) as seen:
    ...     _ = cbam(torch.rand(4, 32, 8, 6))
    >>> spatial_map(seen).shape
    torch.Size([4, 8, 6])
    """
    maps = [weights["map"] for weights in seen.values() if "map" in weights]
    for weights in seen.values():
        if "row_gate" in weights:
            mean = weights["row_gate"].mT @ weights["column_gate"] / weights["row_gate"].shape[1]  # over the channels
            maps.append(mean)
    sizes = {tuple(one.shape[1:]) for one in maps}
    if len(sizes) > 1:
        raise ValueError(f"these maps have different sizes, {sizes}, and no product: hand over one module's alone.")
    return torch.stack(maps).prod(0) if maps else None


def check_maps(maps: torch.Tensor, masks: torch.Tensor) -> None:
    check("masks", masks, torch.bool, (None, None, None))
    if maps.dim() != 3 or len(maps) != len(masks):
        raise ValueError(f"maps must have shape ({len(masks)}, h, w), one map a mask; these have {tuple(maps.shape)}.")
    must_be_finite(maps)


def must_be_finite(maps: torch.Tensor, argument: str = "maps") -> None:
    """Refuse nan and inf: a score of theirs would look like any other."""
    if not maps.isfinite().all():
        raise ValueError(f"{argument} must hold finite numbers; {(~maps.isfinite()).sum()} of these are nan or inf.")


def energy_pointing_game(maps: torch.Tensor, masks: torch.Tensor) -> dict[str, float]:
    """The energy-based pointing game: the proportion of a map's sum that lies on the object.

    Parameters
    ----------
    maps : torch.Tensor
        (n, h, w), not negative. They may be coarser than the masks: the value of a cell spreads over its pixels.
    masks : torch.Tensor
        bool (n, H, W), the object in each image.

    Returns
    -------
    dict
        ``score``: the mean over the images, 0 to 1; a map of zeros counts as constant. ``chance``: the score of a
        constant map, which is the proportion of the image that the object covers.

    Raises
    ------
    ValueError
        If `maps` is not one map per image, not finite, or negative anywhere.

    Notes
    -----
    Wang et al.: Score-CAM (there "energy-based pointing game"). CVPR 2020 workshops. https://arxiv.org/abs/1910.01279

    Examples
    --------
    >>> maps = torch.tensor([[[0.0, 0.75], [0.25, 0.0]]])
    >>> energy_pointing_game(maps, torch.tensor([[[False, True], [False, False]]]))
    {'score': 0.75, 'chance': 0.25}
    """
    check_maps(maps, masks)
    if (maps < 0).any():
        raise ValueError(f"maps must not be below 0, which is no energy; the lowest value is {maps.min():.3g}.")
    covered = F.adaptive_avg_pool2d(masks.float(), maps.shape[1:]).to(maps.device)  # (n, h, w), 0 to 1
    energy = torch.where(maps.amax((1, 2), keepdim=True) > 0, maps, torch.ones_like(maps))
    inside = (energy * covered).sum((1, 2)) / energy.sum((1, 2))
    return {"score": inside.mean().item(), "chance": covered.mean().item()}


def iou(maps: torch.Tensor, masks: torch.Tensor, threshold: float = 0.5) -> dict[str, float]:
    """Intersection over union of the object and the bright part of a map.

    Parameters
    ----------
    maps : torch.Tensor
        (n, h, w). Maps coarser than the masks are enlarged without interpolation.
    masks : torch.Tensor
        bool (n, H, W), the object in each image.
    threshold : float, default 0.5
        A position is bright if its value is at least this far from the map's minimum to its maximum.

    Returns
    -------
    dict
        ``score``: the mean over the images, 0 to 1; a constant map is bright everywhere. ``chance``: the expected score
        of as many bright pixels at random positions.

    Raises
    ------
    ValueError
        If `maps` is not one map per image, or not finite.

    Examples
    --------
    >>> maps = torch.tensor([[[0.1, 0.9], [0.2, 0.6]]])
    >>> iou(maps, torch.tensor([[[False, True], [False, False]]]))
    {'score': 0.5, 'chance': 0.2}
    """
    check_maps(maps, masks)
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    bright = (maps >= low + threshold * (high - low)).float()[:, None]
    bright = F.interpolate(bright, size=masks.shape[1:], mode="nearest-exact")[:, 0].bool().cpu()  # (n, H, W)
    masks = masks.cpu()
    score = (bright & masks).sum((1, 2)) / (bright | masks).sum((1, 2))
    a, b = bright.double().mean((1, 2)), masks.double().mean((1, 2))  # the parts of the image that they cover
    return {"score": score.mean().item(), "chance": (a * b / (a + b - a * b)).mean().item()}


def centre_map(height: int, width: int) -> torch.Tensor:
    """The centre baseline, (height, width): a Gaussian in the middle, where photographers put objects."""
    x, y = (((torch.arange(size) + 0.5) / size - 0.5) / 0.25 for size in (width, height))
    return torch.exp(-(y[:, None] ** 2 + x**2) / 2)


def localisation(maps: torch.Tensor, masks: torch.Tensor) -> pd.DataFrame:
    """Three scores, one row each, beside chance and the centre baseline (`centre_map`).

    Examples
    --------
    >>> masks = torch.zeros(1, 8, 8, dtype=torch.bool)
    >>> masks[0, :4, :4] = True
    >>> localisation(masks.float(), masks).round(2)
                                score  chance  centre
    pointing game                 1.0    0.25    0.25
    energy-based pointing game    1.0    0.25    0.25
    IoU                           1.0    0.14    0.14
    """
    check_maps(maps, masks)
    games = {"pointing game": pointing_game, "energy-based pointing game": energy_pointing_game, "IoU": iou}
    middle = centre_map(*maps.shape[1:]).to(maps.device).expand_as(maps)
    rows = {name: {**game(maps, masks), "centre": game(middle, masks)["score"]} for name, game in games.items()}
    return pd.DataFrame(rows).T


def at_size(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(n, h, w) → (n, *size), blended between the middles of the cells."""
    return F.interpolate(maps.float()[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
