"""VGG with attention where you want it, and with torchvision's names, so that its pretrained weights fit.

Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition. ICLR 2015.
https://arxiv.org/abs/1409.1556
Rebuilt step by step in lesson 08.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable

import torch
from torch import nn

from ..arguments import one_of, whole_number
from ..attention import MECHANISMS, build_attention
from ..attention.base import reset
from .network import Network

WIDTHS = (64, 128, 256, 512, 512)  # channels of the five blocks
DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}  # convolutions in each
SLOTS = ("before_relu", "before_pool", "after_pool")
STARTS = ("own", "identity", "kaiming")


class VGG(Network):
    """Five blocks of 3×3 convolutions, each followed by a pooling, then linear layers.

    Parameters
    ----------
    depth : {11, 13, 16, 19}, default 16
        The number of convolutions, and three linear layers.
    num_classes : int, default 1000
    batch_norm : bool, default False
    head : {"imagenet", "cifar"}, default "imagenet"
        "imagenet" averages to 7×7 positions and has three linear layers with dropout, for images of about 224×224.
        "cifar" averages over all positions and has a single linear layer, for images of about 32×32.
    attention : str or callable, default "none"
        A name or a class that `attn_lessons.attention.build_attention` takes.
    blocks : iterable of int, default (1, 2, 3, 4, 5)
        Which blocks get one, counted from 1.
    slot : {"before_pool", "before_relu", "after_pool"}, default "before_pool"
        Where in a block: between its last ReLU and its pooling, before that ReLU, or after the pooling.
    start : {"own", "identity", "kaiming"}, default "own"
        How a mechanism starts: as it initialises itself; as the identity (see `Gradual`), which leaves what a trained
        network says unchanged; or with Kaiming's initialisation. The rest of the network is never touched.
    width : float, default 1
        Channels of every block, as a share of VGG's own 64 to 512: 1/8 makes a network that a laptop trains.
    image_size : int, optional
        Height and width of the images, which mechanisms built for one size of feature map need (``"linformer"``).
    **options
        Handed on to the mechanism.

    Raises
    ------
    ValueError
        For a depth, head, block, slot, start or mechanism that does not exist, or a width that leaves no channels.

    Notes
    -----
    Convolutions, norms and linear layers are named as in torchvision, whatever is inserted: the mechanisms are named
    ``attention.block1`` … ``attention.block5``. They are built last: one seed gives one and the same backbone.

    Without attention, 1000 classes: 138,357,544 parameters at depth 16, 143,667,240 at depth 19.

    Examples
    --------
    >>> model = VGG(11, num_classes=100, head="cifar", attention="se", blocks=[4, 5], reduction=8)
    >>> list(model.attention)
    ['block4', 'block5']
    >>> model(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 100])
    """

    def __init__(
        self,
        depth: int = 16,
        num_classes: int = 1000,
        batch_norm: bool = False,
        head: str = "imagenet",
        attention: str | Callable[..., nn.Module] = "none",
        blocks: Iterable[int] = (1, 2, 3, 4, 5),
        slot: str = "before_pool",
        start: str = "own",
        width: float = 1,
        image_size: int | None = None,
        **options,
    ):
        super().__init__()
        one_of("depth", depth, DEPTHS)
        one_of("head", head, ("imagenet", "cifar"))
        one_of("slot", slot, SLOTS)
        one_of("start", start, STARTS)
        if not isinstance(blocks, Iterable):
            raise TypeError(f"blocks={blocks!r} is not a list of whole numbers from 1 to 5: try blocks=[{blocks}].")
        blocks = sorted({whole_number("blocks", block, 1, 5) for block in blocks})
        if not isinstance(width, int | float) or not 1 <= WIDTHS[0] * width <= 10 * WIDTHS[0]:
            raise ValueError(f"width={width!r} must be from 1/{WIDTHS[0]} (one channel in the first block) to 10.")
        if image_size is not None:
            whole_number("image_size", image_size, 32)
        widths = [round(channels * width) for channels in WIDTHS]
        self.features, ends = convolutions(widths, DEPTHS[depth], batch_norm)
        self.avgpool, self.classifier = classifier(head, widths[-1], whole_number("num_classes", num_classes, 1))
        initialise(self)

        self.slot, self.start = slot, start
        self.attention = nn.ModuleDict()
        self.slots: dict[int, str] = {}  # index in `features` → the name of the mechanism right behind it
        for block in blocks:
            size = {}
            if image_size is not None and takes_size(attention):
                size["size"] = (image_size >> block - (slot != "after_pool"),) * 2
            mechanism = build_attention(attention, widths[block - 1], **(size | options))
            if not isinstance(mechanism, nn.Identity):
                name = f"block{block}"
                self.attention[name] = started(mechanism, start)
                self.slots[ends[block - 1] + SLOTS.index(slot) - 2] = name

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, 3, H, W)
        if x.dim() != 4 or x.shape[1] != 3 or min(x.shape[2:]) < 32:
            raise ValueError(
                f"VGG takes images of shape (B, 3, H, W), H and W at least 32, since five poolings halve them five "
                f"times; these have shape {tuple(x.shape)}."
            )
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.slots:
                x = self.attention[self.slots[index]](x)
        return self.classifier(self.avgpool(x).flatten(1))  # (B, num_classes)

    def reset(self, part: nn.Module) -> None:
        super().reset(part)
        mechanisms = [module for module in part.modules() if module in set(self.attention.values())]
        if not mechanisms:
            initialise(part)
        elif self.start == "kaiming":
            for mechanism in mechanisms:
                initialise_by_kaiming(mechanism)


def convolutions(widths: list[int], per_block: tuple[int, ...], batch_norm: bool) -> tuple[nn.Sequential, list[int]]:
    """All layers in one row, as torchvision numbers them, and the number of each block's pooling."""
    layers, ends, inputs = [], [], 3
    for width, count in zip(widths, per_block, strict=True):
        for _ in range(count):
            layers.append(nn.Conv2d(inputs, width, 3, padding=1))
            layers += [nn.BatchNorm2d(width)] if batch_norm else []
            layers.append(nn.ReLU())  # not in place: a hook on the layer before still finds what that layer gave
            inputs = width
        ends.append(len(layers))
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers), ends


def classifier(head: str, width: int, num_classes: int) -> tuple[nn.Module, nn.Sequential]:
    if head == "cifar":
        return nn.AdaptiveAvgPool2d(1), nn.Sequential(nn.Linear(width, num_classes))
    hidden = [nn.Linear(width * 7 * 7, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout()]
    return nn.AdaptiveAvgPool2d(7), nn.Sequential(*hidden, nn.Linear(4096, num_classes))


def initialise(model: nn.Module) -> None:
    """Kaiming's for convolutions, small random numbers for linear layers, zero biases, as torchvision does it."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.zeros_(module.bias)


class Gradual(nn.Module):
    """A mechanism that starts as the identity: x + s·(mechanism(x) − x), where s is learned and starts at 0.

    Bachlechner et al.: ReZero is All You Need. UAI 2021. https://arxiv.org/abs/2003.04887
    Used in lesson 08.
    """

    def __init__(self, mechanism: nn.Module):
        super().__init__()
        self.mechanism = mechanism
        self.scale = nn.Parameter(torch.zeros(()))

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.scale)
        reset(self.mechanism)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.scale * (self.mechanism(x) - x)


def started(mechanism: nn.Module, start: str) -> nn.Module:
    if start == "identity":
        return Gradual(mechanism)
    if start == "kaiming":
        initialise_by_kaiming(mechanism)
    return mechanism


def initialise_by_kaiming(mechanism: nn.Module) -> None:
    for module in mechanism.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def takes_size(attention: str | Callable[..., nn.Module]) -> bool:
    mechanism = MECHANISMS.get(attention, attention) if isinstance(attention, str) else attention
    return callable(mechanism) and "size" in inspect.signature(mechanism).parameters
