"""Weights that belong to positions, interpolated for feature maps of another size, as Swin and timm do it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from .base import Attention


def load_resized(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """``model.load_state_dict(weights)`` for weights that were trained on feature maps of another size.

    Parameters
    ----------
    model : nn.Module
        A network or a single mechanism, built with the new ``size``.
    weights : dict
        The state dict of the same network, built with another ``size``.

    Raises
    ------
    RuntimeError
        If the other weights do not fit: `torch.nn.Module.load_state_dict` lists them.
    ValueError
        If Linformer's landmarks were trained on maps of other proportions (height to width).

    Notes
    -----
    Interpolated (bicubic) are deformable attention's table and Linformer's landmarks; they are a start for further
    training, not its result.

    Examples
    --------
    >>> from attn_lessons.attention import DeformableAttention
    >>> small = DeformableAttention(64, position="table", size=(12, 12))
    >>> large = DeformableAttention(64, position="table", size=(32, 32))
    >>> load_resized(large, small.state_dict())
    """
    weights = dict(weights)
    for name, module in model.named_modules():
        if isinstance(module, Attention):
            for key in (f"{name}.{own}".lstrip(".") for own, _ in module.named_parameters(recurse=False)):
                if key in weights:
                    weights[key] = module.resized(weights[key])
    model.load_state_dict(weights)
