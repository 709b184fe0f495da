"""What a layer hands on, and how much each of its channels says for a class.

Introduced in lesson 10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from ..datasets.image_set import check
from ..measure import evaluation_mode
from ..models import VGG, GlyphNet, SmallCNN
from ..training import prepare

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def target_layer(model: nn.Module) -> nn.Module:
    """The last layer of a network of this course with spatial maps: attention included, before its last pooling.

    Behind that pooling a VGG has a single position left of a 32×32 image, and nothing to draw.

    Raises
    ------
    TypeError
        If it is another network: nobody but you knows its layers.

    Examples
    --------
    >>> target_layer(VGG(11, head="cifar"))
    ReLU()
    """
    if isinstance(model, GlyphNet):
        return model.features
    if isinstance(model, SmallCNN):
        return model.blocks[-1].attention
    if isinstance(model, VGG):
        last = len(model.features) - 2  # the ReLU before the last pooling
        return model.attention[model.slots[last]] if last in model.slots else model.features[last]
    raise TypeError(
        f"The layers of {type(model).__name__} are not known here: give layer=…, the last module whose output is still "
        f"(n, C, h, w), such as model.layer4 of a ResNet."
    )


def network_input(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """(n, 3, H, W) on the model's device: uint8 images prepared as for training, floating-point ones as they are."""
    if not isinstance(images, torch.Tensor) or images.dim() != 4 or not len(images):
        got = f"shape {tuple(images.shape)}" if isinstance(images, torch.Tensor) else f"type {type(images).__name__}"
        raise ValueError(
            f"images must be a tensor of shape (n, 3, H, W), n at least 1; these have {got}: one image is images[:1]."
        )
    device = next(model.parameters(), torch.empty(0)).device
    return prepare(images.to(device)) if images.dtype == torch.uint8 else images.to(device)


def target_classes(logits: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
    """The class asked about, one an image: `labels`, or the model's answers if there are none."""
    if labels is None:
        return logits.argmax(1)
    check("labels", labels, torch.int64, logits.shape[:1])
    if not 0 <= labels.min() <= labels.max() < logits.shape[1]:
        raise ValueError(
            f"labels go from {labels.min()} to {labels.max()}; this model's {logits.shape[1]} classes are 0 to "
            f"{logits.shape[1] - 1}."
        )
    return labels.to(logits.device)


def activations(model: nn.Module, x: torch.Tensor, layer: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """What `layer` gives, (n, C, h, w), and the scores, (n, K), as a function of just that; the model stays as is."""
    if not isinstance(layer, nn.Module):
        raise TypeError(
            f"layer must be one module, such as model.layer4 of a ResNet; this is a {type(layer).__name__}."
        )
    kept = []

    def keep(module, args, output):
        kept.append(output.detach().requires_grad_() if isinstance(output, torch.Tensor) else None)
        return None if kept[-1] is None else kept[-1].clone()  # a copy, which an in-place ReLU behind may overwrite

    hook = layer.register_forward_hook(keep)
    try:
        with evaluation_mode(model), torch.enable_grad():
            logits = model(x)
    finally:
        hook.remove()
    if len(kept) != 1 or kept[0] is None or kept[0].dim() != 4:
        raise ValueError(
            f"layer must be a module of this very model that runs once and gives maps, (n, C, h, w); this "
            f"{type(layer).__name__} ran {len(kept)} times" + ("." if len(kept) != 1 else " and gave something else.")
        )
    return kept[0], logits


@torch.enable_grad()
def features(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor | None = None, layer: nn.Module | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The feature maps of a layer, and what each channel contributes to the score of a class.

    Parameters
    ----------
    model : nn.Module
    images : torch.Tensor
        uint8 (n, 3, H, W), prepared here as for training; or floating-point, exactly what the model takes.
    labels : torch.Tensor, optional
        int64 (n,), the class asked about in each image; the model's own answer if none are given.
    layer : nn.Module, optional
        A module of `model` that gives maps; `target_layer` if none is given.

    Returns
    -------
    maps, contributions : torch.Tensor
        (n, C, h, w) and (n, C): gradient × feature, added up over all positions. If everything behind the layer is
        linear, the contributions add up to the score, but for its biases.

    Raises
    ------
    TypeError, ValueError
        If the layer is unknown, or no part of the model, or gives no maps; if a label is no class.

    Examples
    --------
    >>> maps, contributions = features(GlyphNet(attention="se"), torch.zeros(5, 3, 64, 64, dtype=torch.uint8))
    >>> maps.shape, contributions.shape
    (torch.Size([5, 48, 16, 16]), torch.Size([5, 48]))
    """
    layer = target_layer(model) if layer is None else layer
    maps, logits = activations(model, network_input(model, images), layer)
    score = logits.gather(1, target_classes(logits, labels)[:, None]).sum()
    (gradient,) = torch.autograd.grad(score, maps)  # of the maps alone: no parameter's gradient is touched
    maps = maps.detach()
    return maps, (maps * gradient).sum((2, 3))


def show_features(maps: torch.Tensor, contributions: torch.Tensor, ax: Axes, most: int = 8) -> Axes:
    """The maps (C, h, w) of one image that say the most for (+) or against (−) the class, the strongest first.

    Above each its channel, and its share of all that is said; each is drawn from its lowest to its highest value.
    """
    from torchvision.utils import make_grid

    from .. import style

    best, fraction = contributions.abs().argsort(descending=True)[:most], contributions / contributions.abs().sum()
    columns, gap = min(4, len(best)), 2 + maps.shape[1] // 4
    grid = make_grid(maps[best, None], columns, gap, normalize=True, scale_each=True, pad_value=float("nan"))
    ax.imshow(grid[0].cpu().numpy(), cmap=style.HEAT)
    for i, channel in enumerate(best.tolist()):
        row, column = divmod(i, columns)
        x, y = gap + column * (maps.shape[2] + gap), gap + row * (maps.shape[1] + gap)
        ax.text(x, y - 1, f"{channel}: {fraction[channel]:+.0%}", fontsize=10, va="bottom")
    ax.set_axis_off()
    return ax
