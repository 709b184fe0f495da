"""VGG: torchvision's layers and names, a head and a width for small images, and attention where you want it.

Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition. ICLR 2015.
https://arxiv.org/abs/1409.1556
Rebuilt in an exercise of lesson 08.
"""

from collections.abc import Iterable

import torch
from torch import nn

from ..arguments import one_of, whole_number
from ..attention import Mechanism
from .attachment import attach, restart
from .network import Network

LETTERS = {11: "A", 13: "B", 16: "D", 19: "E"}  # depth → the paper's name of the configuration
SLOTS = ("before_relu", "before_pool", "after_pool")


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
    blocks : int or iterable of int, default (1, 2, 3, 4, 5)
        Which blocks get one, counted from 1.
    slot : {"before_pool", "before_relu", "after_pool"}, default "before_pool"
        Where in a block: between its last ReLU and its pooling, before that ReLU, or after the pooling.
    start : {"own", "identity", "kaiming"}, default "own"
        How each mechanism starts; see `attn_lessons.models.attach`.
    width : float, default 1
        Channels of every block, as a fraction of VGG's own 64 to 512: 1/8 makes a network that a laptop trains.
    image_size : int, default 32
        Height and width of the images, which mechanisms built for one size of feature map need (``"linformer"``).
    **options
        Handed on to the mechanism.

    Attributes
    ----------
    slots : dict of int to str
        Block → the module that its attention follows: ``features.5`` has ``features.5.attention``.

    Raises
    ------
    ValueError
        For a depth, head, block, slot, start or mechanism that does not exist, or a width that leaves no channels.

    Notes
    -----
    All names but those of the mechanisms are torchvision's, so its pretrained weights fit. The mechanisms are built
    last: one seed gives one and the same backbone.

    Without attention, 1000 classes: 138,357,544 parameters at depth 16, 143,667,240 at depth 19.

    Examples
    --------
    >>> model = VGG(11, num_classes=100, head="cifar", attention="se", blocks=[4, 5], reduction=8)
    >>> model.slots
    {4: 'features.14', 5: 'features.19'}
    >>> model(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 100])
    """

    def __init__(
        self,
        depth: int = 16,
        num_classes: int = 1000,
        batch_norm: bool = False,
        head: str = "imagenet",
        attention: Mechanism = "none",
        blocks: int | Iterable[int] = (1, 2, 3, 4, 5),
        slot: str = "before_pool",
        start: str = "own",
        width: float = 1,
        image_size: int = 32,
        **options,
    ):
        super().__init__()
        from torchvision.models.vgg import cfgs, make_layers  # takes as long to import as torch

        one_of("depth", depth, LETTERS)
        one_of("head", head, ("imagenet", "cifar"))
        one_of("slot", slot, SLOTS)
        whole_number("num_classes", num_classes, 1)
        blocks = [blocks] if isinstance(blocks, int) else blocks
        blocks = sorted({whole_number("blocks", block, 1, 5) for block in blocks})
        if not isinstance(width, int | float) or not 1 <= 64 * width <= 640:
            raise ValueError(f"width={width!r} must be from 1/64 (one channel in the first block) to 10.")
        layers = [layer if layer == "M" else round(layer * width) for layer in cfgs[LETTERS[depth]]]
        self.features = make_layers(layers, batch_norm)
        for layer in self.features:
            if isinstance(layer, nn.ReLU):
                layer.inplace = False  # a hook on the layer before still finds what that layer gave
        self.avgpool, self.classifier = avgpool_and_classifier(head, layers[-2], num_classes)
        initialise(self)

        pools = [index for index, layer in enumerate(self.features) if isinstance(layer, nn.MaxPool2d)]
        shift = SLOTS.index(slot) - 2
        self.start, blocks = start, [] if attention == "none" else blocks
        self.slots = {block: f"features.{pools[block - 1] + shift}" for block in blocks}
        attach(self, attention, self.slots.values(), start, (3, image_size, image_size), **options)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, 3, H, W)
        if x.dim() != 4 or x.shape[1] != 3 or min(x.shape[2:]) < 32:
            raise ValueError(f"VGG takes images (B, 3, H, W), H and W at least 32; these have {tuple(x.shape)}.")
        return self.classifier(self.avgpool(self.features(x)).flatten(1))  # (B, num_classes)

    @property
    def attention(self) -> nn.ModuleDict:
        """Its mechanisms: "block5" and so on."""
        return nn.ModuleDict({f"block{i}": self.get_submodule(f"{host}.attention") for i, host in self.slots.items()})

    def reset_parameters(self) -> None:
        """Re-initialise all weights as construction does: the same seed gives the same weights."""
        for layer in [*self.features, *self.classifier]:
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
        initialise(self)
        for mechanism in self.attention.values():
            restart(mechanism, self.start)


def avgpool_and_classifier(head: str, channels: int, num_classes: int) -> tuple[nn.Module, nn.Sequential]:
    if head == "cifar":
        return nn.AdaptiveAvgPool2d(1), nn.Sequential(nn.Linear(channels, num_classes))
    layers = [(nn.Linear(width, 4096), nn.ReLU(), nn.Dropout()) for width in (channels * 7 * 7, 4096)]
    return nn.AdaptiveAvgPool2d(7), nn.Sequential(*layers[0], *layers[1], nn.Linear(4096, num_classes))


def initialise(model: VGG) -> None:
    """Kaiming's for convolutions, small random numbers for linear layers, zero biases, as torchvision does it."""
    for layer in [*model.features, *model.classifier]:  # the layers themselves, not what is attached to them
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0, 0.01)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.zeros_(layer.bias)
