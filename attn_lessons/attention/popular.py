"""The calls of widely copied tutorials, and the weights of the modules that they and others define.

Each call takes the arguments of its tutorial and returns a mechanism of this course. Lessons 02–07 say where the
tutorials' code computes something else.
"""

import warnings
from collections.abc import Mapping

import torch
from torch import nn

from ..arguments import reduction_or, whole_number
from .cbam import CBAM
from .coordinate import CoordinateAttention
from .deformable import DeformableAttention
from .eca import EfficientChannelAttention
from .linear import LinearSelfAttention
from .se import SqueezeExcitation


def SEAttention(channel: int = 512, reduction: int | None = None) -> SqueezeExcitation:
    """`SqueezeExcitation` under the name and arguments of popular tutorials."""
    return SqueezeExcitation(channel, reduction)


def CBAMAttention(channel: int = 512, reduction: int | None = None, kernel_size: int = 7) -> CBAM:
    """`CBAM` under the name and arguments of popular tutorials."""
    return CBAM(channel, reduction, kernel_size)


def ECAAttention(kernel_size: int = 3) -> EfficientChannelAttention:
    """`EfficientChannelAttention` under the name and argument of popular tutorials: any C, a fixed kernel size."""
    return EfficientChannelAttention(kernel_size=kernel_size)


def CAAttention(channel: int = 512, reduction: int | None = None) -> CoordinateAttention:
    """`CoordinateAttention` under the name and arguments of popular tutorials; r is min(16, C) by default."""
    channel = whole_number("channels", channel, least=1)
    return CoordinateAttention(channel, reduction_or(16, reduction, channel, f" (channels={channel})"))


def LinearAttention(in_dim: int, reduction: int | None = None) -> LinearSelfAttention:
    """`LinearSelfAttention` under the name and arguments of a popular tutorial: one head, C // r key channels.

    r is min(8, C) by default. The tutorial's own code has the same parameters, but computes a softmax over an N × N
    matrix; lesson 06 takes it apart.
    """
    whole_number("in_dim", in_dim, 1)
    reduction = reduction_or(8, reduction, in_dim, f" (in_dim={in_dim} would have no key left)")
    return LinearSelfAttention(in_dim, num_heads=1, key_channels=in_dim // reduction)


def DAttention(
    channel: int, q_size: tuple[int, int] | None = None, n_heads: int = 8, n_groups: int = 4, stride: int = 1
) -> DeformableAttention:
    """`DeformableAttention` under the name and arguments of a popular tutorial, with dwc-pe as there."""
    return DeformableAttention(channel, n_heads, n_groups, stride, size=q_size)


def AttentionModule(channels: int) -> SqueezeExcitation:
    """`SqueezeExcitation` under the name and argument of a popular post on attention in VGG19.

    The post describes one gate per channel. Its code applies Linear → ReLU → Linear → Sigmoid to a feature map
    (B, C, H, W) directly, without pooling, and a linear layer acts on the last axis, W: it raises an error unless W
    happens to be C, and then it mixes columns, not channels.
    """
    return SqueezeExcitation(channels)


RENAMED = {  # mechanism → our layer → its name in the popular module
    SqueezeExcitation: {"reduce": "fc.0", "expand": "fc.2"},
    CBAM: {"channel.reduce": "ca.se.0", "channel.expand": "ca.se.2", "spatial.conv": "sa.conv"},
    EfficientChannelAttention: {"conv": "conv"},
    # The result of conv_h has the shape (B, C, H, 1), one gate per row.
    CoordinateAttention: {"reduce": "conv1", "norm": "bn1", "expand_rows": "conv_h", "expand_columns": "conv_w"},
}


def load_popular(module: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Load the state dict of a widely copied module into the mechanism that computes the same function.

    Parameters
    ----------
    module : SqueezeExcitation, CBAM, EfficientChannelAttention or CoordinateAttention
        Built with the channels, the reduction and the kernel size of the popular module.
    weights : dict
        The state dict of, in this order: ``SEAttention`` or ``SELayer``; ``CBAMBlock``; ``ECAAttention`` without a bias
        or ``eca_layer``; ``CoordAtt``.

    Raises
    ------
    TypeError
        If `module` is none of the four.
    ValueError
        If names or shapes differ from those expected. Nothing is loaded then.

    Warns
    -----
    UserWarning
        For ``CBAMBlock``, which returns ``x + cbam(x)``: a CBAM of this course returns ``cbam(x)``.

    Examples
    --------
    >>> popular = {"fc.0.weight": torch.rand(4, 64), "fc.2.weight": torch.rand(64, 4)}
    >>> load_popular(SqueezeExcitation(64, reduction=16), popular)
    """
    if type(module) not in RENAMED:
        allowed = ", ".join(mechanism.__name__ for mechanism in RENAMED)
        raise TypeError(f"load_popular has no names for module={type(module).__name__}: it takes one of {allowed}.")
    own, renamed = module.state_dict(), RENAMED[type(module)]
    names = {f"{layer}.{kind}": f"{renamed[layer]}.{kind}" for layer, kind in (key.rsplit(".", 1) for key in own)}
    expected, given = shapes({names[key]: weight for key, weight in own.items()}), shapes(weights)
    if given != expected:
        raise ValueError(f"These weights do not fit {type(module).__name__}: expected {expected}, given {given}.")
    if isinstance(module, CBAM):
        weights = {**weights, "sa.conv.weight": weights["sa.conv.weight"].flip(1)}  # [max, mean] there
        warnings.warn("CBAMBlock adds its input: x + cbam(x) gives what CBAMBlock gives.", stacklevel=2)
    module.load_state_dict({key: weights[names[key]].reshape(weight.shape) for key, weight in own.items()})


def shapes(weights: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    """Name → shape without axes of length 1, by which a linear layer and a 1×1 convolution differ."""
    return {name: tuple(n for n in weight.shape if n > 1) for name, weight in weights.items()}
