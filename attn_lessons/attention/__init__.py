"""The mechanisms, one per file, and the one place that knows their names.

To add a mechanism: write its file, and add one line to `MECHANISMS`.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from .base import Attention, watch
from .cbam import CBAM, CBAMAttention, ChannelAttention, SpatialAttention
from .coordinate import CAAttention, CoordinateAttention
from .eca import ECAAttention, EfficientChannelAttention
from .se import SEAttention, SqueezeExcitation

MECHANISMS: dict[str, Callable[..., nn.Module]] = {
    "none": lambda channels: nn.Identity(),
    "se": SqueezeExcitation,
    "cbam": CBAM,
    "cbam_channel": ChannelAttention,
    "cbam_spatial": SpatialAttention,
    "eca": EfficientChannelAttention,
    "ca": CoordinateAttention,
}


def build_attention(mechanism: str | Callable[..., nn.Module], channels: int, **options) -> nn.Module:
    """Make a mechanism by name, or with your own class.

    Parameters
    ----------
    mechanism : str or callable
        A name in `MECHANISMS` ("none" gives an identity), or anything that, called with the number of channels, makes
        a module: the class you wrote in a lesson, for example.
    channels : int
        C, the number of channels of the feature maps it will weight.
    **options
        Handed on to the mechanism, ``reduction=8`` for example.

    Returns
    -------
    nn.Module
        Keeps (B, C, H, W) → (B, C, H, W).

    Raises
    ------
    ValueError
        If no mechanism has that name.

    Examples
    --------
    >>> build_attention("se", 64, reduction=4)
    SqueezeExcitation(
      (reduce): Linear(in_features=64, out_features=16, bias=False)
      (expand): Linear(in_features=16, out_features=64, bias=False)
    )
    """
    if isinstance(mechanism, str):
        if mechanism not in MECHANISMS:
            raise ValueError(f"attention={mechanism!r} is not known: choose one of {', '.join(map(repr, MECHANISMS))}.")
        mechanism = MECHANISMS[mechanism]
    return mechanism(channels, **options)


__all__ = ["MECHANISMS", "Attention", "SEAttention", "SqueezeExcitation", "build_attention", "watch"]
