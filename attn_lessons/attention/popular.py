"""The calls of widely copied tutorials.

Each call takes the arguments of its tutorial and returns a mechanism of this course. Lessons 02–07 say where the
tutorials' code computes something else.
"""

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
    reduction = reduction_or(8, reduction, whole_number("in_dim", in_dim, 1), f" (in_dim={in_dim})")
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
