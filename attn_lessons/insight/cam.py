"""Grad-CAM and its relatives, through pytorch-grad-cam, without what people trip over there.

Introduced in lesson 10. Imported by its own name, because pytorch-grad-cam takes seconds to import:
``from attn_lessons.insight.cam import cam``.
"""

import copy

import cv2
import torch
from matplotlib.axes import Axes
from pytorch_grad_cam import GradCAM, LayerCAM
from pytorch_grad_cam.base_cam import BaseCAM
from pytorch_grad_cam.utils.image import show_cam_on_image
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from .. import style
from ..arguments import one_of
from .feature_maps import activations, network_input, target_classes, target_layer
from .localise import at_size


class MeanOfChannels(BaseCAM):
    """A popular tutorial's "attention heat map": the mean of all channels. No class and no head enters it."""

    def __init__(self, model: nn.Module, target_layers: list[nn.Module]):
        super().__init__(model, target_layers, uses_gradients=False)

    def get_cam_image(self, input_tensor, target_layer, targets, activations, grads, eigen_smooth=False):
        mean = activations.mean(1)
        return mean - mean.min((1, 2), keepdims=True)  # from 0 up: the library cuts off what is below


METHODS = {"gradcam": GradCAM, "layercam": LayerCAM, "mean_of_channels": MeanOfChannels}


def cam(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor | None = None,
    method: str = "gradcam",
    layer: nn.Module | None = None,
    batch_size: int = 32,
) -> torch.Tensor:
    """Where in each image a class activation map finds what speaks for a class.

    Parameters
    ----------
    model : nn.Module
        Explained as it is in evaluation mode, and left as it was: its mode, gradients, hooks and layers.
    images : torch.Tensor
        uint8 (n, 3, H, W), prepared here as for training; or floating-point, exactly what the model takes.
    labels : torch.Tensor, optional
        int64 (n,), the class asked about in each image; the model's own answer if none are given.
    method : {"gradcam", "layercam", "mean_of_channels"}, default "gradcam"
        The last is a baseline that looks at no class; see `MeanOfChannels`.
    layer : nn.Module, optional
        A module of `model` that gives maps (n, C, h, w); `target_layer` if none is given.
    batch_size : int, default 32

    Returns
    -------
    torch.Tensor
        (n, H, W) on the CPU, each map from 0 to 1 on a scale of its own: compare positions in a map, not maps. All 0
        where the method found nothing that speaks for the class.

    Raises
    ------
    TypeError, ValueError
        If the method or layer is unknown, or the layer no part of the model; if a label is no class.

    Notes
    -----
    Selvaraju et al.: Grad-CAM. ICCV 2017. https://arxiv.org/abs/1610.02391. Jiang et al.: LayerCAM. TIP 2021.

    Examples
    --------
    >>> from attn_lessons.insight.cam import cam
    >>> from attn_lessons.models import SmallCNN
    >>> cam(SmallCNN(attention="cbam"), torch.zeros(5, 3, 32, 32, dtype=torch.uint8)).shape
    torch.Size([5, 32, 32])
    """
    one_of("method", method, METHODS)
    layer = target_layer(model, images) if layer is None else layer
    x = network_input(model, images)
    logits = torch.cat([activations(model, part, layer)[1].detach() for part in x.split(batch_size)])
    labels = target_classes(logits, labels)
    # The library writes into what it explains: it gets a copy, whose layers never overwrite what a hook has kept.
    name = next(name for name, module in model.named_modules() if module is layer)
    twin = copy.deepcopy(model).requires_grad_(False)
    for module in twin.modules():
        if getattr(module, "inplace", False):
            module.inplace = False
    tool = METHODS[method](twin, [twin.get_submodule(name)])
    targets, maps = [ClassifierOutputTarget(label) for label in labels.tolist()], []
    with torch.enable_grad():
        for i in range(0, len(x), batch_size):
            # If the input asks for a gradient, one passes through the layer, even if no parameter asks for any.
            part = x[i : i + batch_size].detach().clone().requires_grad_()
            maps.append(torch.from_numpy(tool(part, targets[i : i + batch_size])))
    tool.activations_and_grads.release()
    return torch.cat(maps)


def overlay(image: torch.Tensor, one: torch.Tensor, ax: Axes, title: str = "") -> Axes:
    """A map (h, w), from 0 to 1, over its image, uint8 (3, H, W): bright where the map is high."""
    over = at_size(one[None].cpu(), image.shape[1:])[0].clamp(0, 1).numpy()
    rgb = image.permute(1, 2, 0).cpu().numpy().astype("float32") / 255  # the library wants 0 to 1
    mixed = show_cam_on_image(rgb, over, use_rgb=True, colormap=cv2.COLORMAP_VIRIDIS)
    return style.show_image(torch.from_numpy(mixed).permute(2, 0, 1), ax, title)
