"""Grad-CAM and LayerCAM through pytorch-grad-cam, with batches, labels and modes handled.

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
    """The mean over the channels, a widely copied "attention heat map". It depends on neither class nor head."""

    def __init__(self, model: nn.Module, target_layers: list[nn.Module]):
        super().__init__(model, target_layers, uses_gradients=False)

    def get_cam_image(self, input_tensor, target_layer, targets, activations, grads, eigen_smooth=False):
        mean = activations.mean(1)
        return mean - mean.min((1, 2), keepdims=True)  # the library sets negative values to 0


METHODS = {"gradcam": GradCAM, "layercam": LayerCAM, "mean_of_channels": MeanOfChannels}


def cam(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor | None = None,
    method: str = "gradcam",
    layer: nn.Module | None = None,
    batch_size: int = 32,
) -> torch.Tensor:
    """The class activation map of each image: which positions contribute to the logit of a class.

    Parameters
    ----------
    model : nn.Module
        Run in evaluation mode; its mode, gradients, hooks and layers stay as they are.
    images : torch.Tensor
        uint8 (n, 3, H, W), prepared here as for training; or floating-point, exactly what the model takes.
    labels : torch.Tensor, optional
        int64 (n,), the class to explain in each image. Default: the predicted class.
    method : {"gradcam", "layercam", "mean_of_channels"}, default "gradcam"
        The last is a baseline that does not depend on the class; see `MeanOfChannels`.
    layer : nn.Module, optional
        A module of `model` that gives feature maps (n, C, h, w). Default: `target_layer`.
    batch_size : int, default 32

    Returns
    -------
    torch.Tensor
        (n, H, W) on the CPU. Each map is scaled to [0, 1] separately: compare positions within a map, not maps. All 0
        if no position contributes to the class.

    Raises
    ------
    TypeError, ValueError
        If the method is unknown, the layer is not part of the model, or a label is not a class.

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
    # The library changes the model, so it gets a copy, without in-place layers that overwrite what a hook has kept.
    name = next(name for name, module in model.named_modules() if module is layer)
    twin = copy.deepcopy(model).requires_grad_(False)
    for module in twin.modules():
        if getattr(module, "inplace", False):
            module.inplace = False
    tool = METHODS[method](twin, [twin.get_submodule(name)])
    targets, maps = [ClassifierOutputTarget(label) for label in labels.tolist()], []
    with torch.enable_grad():
        for i in range(0, len(x), batch_size):
            # With requires_grad on the input, a gradient reaches the layer even if all parameters are frozen.
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
