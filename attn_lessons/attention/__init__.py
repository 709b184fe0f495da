"""The mechanisms, one per file, and the one place that knows their names.

To add a mechanism: write its file, and add one line to `MECHANISMS`.

All of them can be exported (`torch.export`, ONNX) with batch, height and width left free, except those that are built
for one size: Linformer, and deformable attention with a table.
"""

import inspect
from collections.abc import Callable

from torch import nn

from ..arguments import one_of
from .base import Attention, watch
from .cbam import CBAM, ChannelAttention, SpatialAttention
from .coordinate import CoordinateAttention
from .deformable import DeformableAttention, load_resized
from .eca import EfficientChannelAttention, adaptive_kernel_size
from .efficient import EfficientSelfAttention
from .linear import LinearSelfAttention
from .linformer import LinformerSelfAttention
from .performer import PerformerSelfAttention
from .popular import AttentionModule, CAAttention, CBAMAttention, DAttention, ECAAttention, LinearAttention, SEAttention
from .popular_weights import load_popular
from .se import SqueezeExcitation
from .self_attention import SelfAttention

Mechanism = str | Callable[..., nn.Module]  # a name in `MECHANISMS`, or a class of your own
MECHANISMS: dict[str, Callable[..., nn.Module]] = {
    "none": lambda channels: nn.Identity(),
    "se": SqueezeExcitation,
    "cbam": CBAM,
    "cbam_channel": ChannelAttention,
    "cbam_spatial": SpatialAttention,
    "eca": EfficientChannelAttention,
    "ca": CoordinateAttention,
    "self": SelfAttention,
    "linear": LinearSelfAttention,
    "efficient": EfficientSelfAttention,
    "performer": PerformerSelfAttention,
    "linformer": LinformerSelfAttention,
    "deformable": DeformableAttention,
}


def build_attention(mechanism: Mechanism, channels: int, **options) -> nn.Module:
    """Make a mechanism by name, or with your own class.

    Parameters
    ----------
    mechanism : str or callable
        A name in `MECHANISMS` ("none" gives an identity), or any callable that makes a module from the number of
        channels, such as the class you wrote in a lesson.
    channels : int
        C, the number of channels of the feature maps.
    **options
        Options of the mechanism, such as ``reduction=8``.

    Returns
    -------
    nn.Module
        From (B, C, H, W) to (B, C, H, W).

    Raises
    ------
    ValueError, TypeError
        If no mechanism has that name, or it has no such option; if `mechanism` is neither a name nor a class.

    Examples
    --------
    >>> build_attention("se", 64, reduction=4)
    SqueezeExcitation(
      reduction=4
      (reduce): Linear(in_features=64, out_features=16, bias=False)
      (expand): Linear(in_features=16, out_features=64, bias=False)
    )
    """
    if isinstance(mechanism, str):
        one_of("attention", mechanism, MECHANISMS)
        name, mechanism = mechanism, MECHANISMS[mechanism]
        known = list(inspect.signature(mechanism).parameters.values())[1:]  # all but channels
        for option in options.keys() - {parameter.name for parameter in known}:
            takes = f"its options are {', '.join(p.name for p in known)}" if known else "it takes none"
            raise ValueError(f"{option}={options[option]!r} is no option of attention={name!r}: {takes}.")
        for missing in {p.name for p in known if p.default is p.empty} - options.keys():
            raise ValueError(f"attention={name!r} cannot be built without {missing}: give {missing}=… as well.")
    if not callable(mechanism) or isinstance(mechanism, nn.Module):
        raise TypeError(f"attention={mechanism!r} is neither a name nor a class: hand over the class itself.")
    return mechanism(channels, **options)


__all__ = [
    "CBAM", "MECHANISMS", "Attention", "AttentionModule", "CAAttention", "CBAMAttention", "ChannelAttention",
    "CoordinateAttention", "DAttention", "DeformableAttention", "ECAAttention", "EfficientChannelAttention",
    "EfficientSelfAttention", "LinearAttention", "LinearSelfAttention", "LinformerSelfAttention",
    "PerformerSelfAttention", "SEAttention", "SelfAttention", "SpatialAttention", "SqueezeExcitation",
    "adaptive_kernel_size", "build_attention", "load_popular", "load_resized", "watch",
]  # fmt: skip
