"""What a layer hands on, and how much each of its channels says for a class.

Introduced in lesson 10.
"""

import torch
from torch import nn

from ..datasets.image_set import check
from ..measure import evaluation_mode
from ..models.slot_table import forward_calls, is_maps
from ..training import prepare


@torch.no_grad()
def target_layer(model: nn.Module, images: torch.Tensor) -> nn.Module:
    """The last module of a convolutional network that gives feature maps, attention included, before its last pooling.

    After that pooling a VGG has a single position left of a 32×32 image, and nothing to draw.

    Parameters
    ----------
    model : nn.Module
    images : torch.Tensor
        As for `features`; the first one passes through the network.

    Raises
    ------
    ValueError
        If no module gives maps, or tokens follow the last one that does, as in a vision transformer.

    Examples
    --------
    >>> from torchvision.models import resnet18
    >>> network = resnet18()
    >>> target_layer(network, torch.rand(1, 3, 64, 64)) is network.layer4
    True
    """
    x = network_input(model, images[:1])
    with evaluation_mode(model), forward_calls(model) as calls:
        model(x)
    pooled = [output for _, module, output in calls if "Pool" in type(module).__name__]
    hint = "give layer=…, a module whose output is (n, C, h, w), such as model.layer4 of a ResNet."
    for name, module, output in reversed(calls):
        within = "attention" in name.rpartition(".")[0]  # a mechanism, which may have tokens of its own
        if within or name == "" or not isinstance(output, torch.Tensor) or output.dim() < 3:
            continue
        if not is_maps(output.shape, x.shape[1:]):
            raise ValueError(f"the last layers of this {type(model).__name__} give tokens, not feature maps: {hint}")
        if output[0, 0].numel() > 1 and not any(output is other for other in pooled):
            return module
    raise ValueError(f"no module of this {type(model).__name__} gives feature maps of more than one position: {hint}")


def network_input(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """(n, 3, H, W) on the model's device: uint8 images prepared as for training, floating-point ones as they are."""
    if not isinstance(images, torch.Tensor) or images.dim() != 4 or not len(images):
        got = f"shape {tuple(images.shape)}" if isinstance(images, torch.Tensor) else f"type {type(images).__name__}"
        raise ValueError(f"images must have shape (n, 3, H, W), n at least 1, as images[:1] has; these have {got}.")
    device = next(model.parameters(), torch.empty(0)).device
    return prepare(images.to(device), model) if images.dtype == torch.uint8 else images.to(device)


def target_classes(logits: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
    """The class to explain in each image: `labels`, or the predicted classes if there are none."""
    if labels is None:
        return logits.argmax(1)
    check("labels", labels, torch.int64, logits.shape[:1])
    if not 0 <= labels.min() <= labels.max() < logits.shape[1]:
        raise ValueError(f"labels go from {labels.min()} to {labels.max()}; the model has {logits.shape[1]} classes.")
    return labels.to(logits.device)


def activations(model: nn.Module, x: torch.Tensor, layer: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """What `layer` gives, (n, C, h, w), and the scores, (n, K), as a function of just that; the model stays as is."""
    if not isinstance(layer, nn.Module):
        raise TypeError(f"layer must be a module, such as model.layer4 of a ResNet; this is a {type(layer).__name__}.")
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
    if not isinstance(logits, torch.Tensor) or logits.dim() != 2:
        gives = f"shape {tuple(logits.shape)}" if isinstance(logits, torch.Tensor) else f"a {type(logits).__name__}"
        raise TypeError(f"model must give logits (n, K), alone; this {type(model).__name__} gives {gives}.")
    if len(kept) != 1:
        raise ValueError(f"layer must run once in this model; this {type(layer).__name__} ran {len(kept)} times.")
    if kept[0] is None or kept[0].dim() != 4:
        raise ValueError(f"layer must give maps (n, C, h, w); this {type(layer).__name__} gives something else.")
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
        int64 (n,), the class to explain in each image. Default: the predicted class.
    layer : nn.Module, optional
        A module of `model` that gives feature maps. Default: `target_layer`.

    Returns
    -------
    maps, contributions : torch.Tensor
        (n, C, h, w) and (n, C): gradient × feature, added up over all positions. If everything behind the layer is
        linear, the contributions add up to the score, but for its biases.

    Raises
    ------
    TypeError, ValueError
        If there is no layer with maps, or it is no part of the model; if a label is no class.

    Examples
    --------
    >>> from attn_lessons.models import GlyphNet
    >>> maps, contributions = features(GlyphNet(attention="se"), torch.zeros(5, 3, 64, 64, dtype=torch.uint8))
    >>> maps.shape, contributions.shape
    (torch.Size([5, 48, 16, 16]), torch.Size([5, 48]))
    """
    layer = target_layer(model, images) if layer is None else layer
    maps, logits = activations(model, network_input(model, images), layer)
    score = logits.gather(1, target_classes(logits, labels)[:, None]).sum()
    (gradient,) = torch.autograd.grad(score, maps)  # of the maps alone: no parameter's gradient is touched
    maps = maps.detach()
    return maps, (maps * gradient).sum((2, 3))
