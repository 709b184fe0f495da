"""The weights of widely copied modules, loaded into the mechanisms that compute the same.

Plain plumbing: for networks that were trained with somebody else's SE, CBAM, ECA or coordinate attention.
"""

import warnings
from collections.abc import Mapping

import torch
from torch import nn

from .cbam import CBAM
from .coordinate import CoordinateAttention
from .eca import EfficientChannelAttention
from .se import SqueezeExcitation

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
        raise TypeError(
            f"module={type(module).__name__} has no popular names: {[kind.__name__ for kind in RENAMED]} have."
        )
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
