"""Does it look at the object? Maps scored against a ground-truth mask, beside the score of looking anywhere.

Introduced in lesson 03.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ..datasets.image_set import check


def pointing_game(maps: torch.Tensor, masks: torch.Tensor) -> dict[str, float]:
    """How often the highest place of a map lies on the object.

    Parameters
    ----------
    maps : torch.Tensor
        (n, h, w), one map a picture. A coarser grid than the picture's is fine: a cell is on the object if any of its
        pixels is.
    masks : torch.Tensor
        bool (n, H, W), the object in each picture.

    Returns
    -------
    dict
        ``score``: the share of pictures whose highest place is on the object, 0 to 1; several equally high places share
        their picture, so that a map without any preference scores as chance does. ``chance``: what pointing anywhere
        would score.

    Raises
    ------
    ValueError
        If `maps` is not one map a picture.

    Notes
    -----
    Zhang et al.: Top-down Neural Attention by Excitation Backprop. ECCV 2016. https://arxiv.org/abs/1608.00507

    Examples
    --------
    >>> maps = torch.tensor([[[0.1, 0.9], [0.2, 0.3]]])
    >>> pointing_game(maps, torch.tensor([[[False, True], [False, False]]]))
    {'score': 1.0, 'chance': 0.25}
    """
    check("masks", masks, torch.bool, (None, None, None))
    if maps.dim() != 3 or len(maps) != len(masks):
        raise ValueError(f"maps must have shape ({len(masks)}, h, w), one map a mask; these have {tuple(maps.shape)}.")
    on_object = F.adaptive_max_pool2d(masks.float(), maps.shape[1:]).to(maps.device)  # (n, h, w), 0 or 1
    highest = (maps == maps.amax((1, 2), keepdim=True)).float()
    hit = (highest * on_object).sum((1, 2)) / highest.sum((1, 2))
    return {"score": hit.mean().item(), "chance": on_object.mean().item()}


def place_map(seen: dict[str, dict[str, torch.Tensor]]) -> torch.Tensor | None:
    """By what each place is multiplied altogether, (B, H, W), from what `watch` saw; None if no gate knew of places.

    Spatial maps count as they are, coordinate attention's as the mean of its gates over the channels; modules with maps
    of equal size are multiplied.

    Raises
    ------
    ValueError
        If the maps have different sizes.

    Examples
    --------
    >>> from attn_lessons.attention import CBAM, watch
    >>> with watch(cbam := CBAM(32)) as seen:
    ...     _ = cbam(torch.rand(4, 32, 8, 6))
    >>> place_map(seen).shape
    torch.Size([4, 8, 6])
    """
    product = None
    for weights in seen.values():
        if "map" in weights:
            one = weights["map"]
        elif "row_gate" in weights:
            one = (weights["row_gate"].mT @ weights["column_gate"]) / weights["row_gate"].shape[1]  # mean over channels
        else:
            continue
        if product is not None and product.shape != one.shape:
            sizes = f"{tuple(product.shape[1:])} and {tuple(one.shape[1:])}"
            raise ValueError(f"these maps have different sizes, {sizes}, and no product: hand over one module's alone.")
        product = one if product is None else product * one
    return product
