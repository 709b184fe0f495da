"""SmallCNN: the three-block network on which a popular tutorial compares "CNN" with "CNN + SE" on CIFAR-10.

Used in lesson 02.
"""

from collections import OrderedDict

import torch
from torch import nn

from ..arguments import whole_number
from ..attention import Mechanism, build_attention
from .network import Network


class SmallCNN(Network):
    """Three blocks conv–BN–ReLU–[attention]–pool with 32, 64, 128 channels, then two linear layers.

    Parameters
    ----------
    num_classes : int, default 10
    image_size : int, default 32
        Height and width of the images in pixels; a multiple of 8, since three poolings halve it three times.
    attention : str or callable, default "none"
        What stands in the three slots: a name or a class that `attn_lessons.attention.build_attention` takes.
    **options
        Handed on to the mechanism.

    Raises
    ------
    ValueError
        If `image_size` is no multiple of 8, or an image of another size comes in.

    Notes
    -----
    With 10 classes and 32×32 pixels: 1,147,914 parameters plain, 1,150,602 with SE. The slots are filled last, so that
    one seed gives one and the same backbone, whatever stands in the slots.
    """

    def __init__(self, num_classes: int = 10, image_size: int = 32, attention: Mechanism = "none", **options):
        super().__init__()
        whole_number("num_classes", num_classes, 1)
        if whole_number("image_size", image_size, 8) % 8:
            raise ValueError(f"image_size={image_size} is not a multiple of 8: three poolings halve it three times.")
        self.image_size = image_size
        self.blocks = nn.Sequential(self.block(3, 32), self.block(32, 64), self.block(64, 128))
        first, last = nn.Linear(128 * (image_size // 8) ** 2, 512), nn.Linear(512, num_classes)
        self.head = nn.Sequential(nn.Flatten(), first, nn.ReLU(), nn.Dropout(0.5), last)
        for block, channels in zip(self.blocks, (32, 64, 128), strict=True):
            block.attention = build_attention(attention, channels, **options)

    @staticmethod
    def block(inputs: int, outputs: int) -> nn.Sequential:
        layers = {"conv": nn.Conv2d(inputs, outputs, 3, padding=1), "norm": nn.BatchNorm2d(outputs), "relu": nn.ReLU()}
        layers |= {"attention": nn.Identity(), "pool": nn.MaxPool2d(2)}  # the slot is filled last
        return nn.Sequential(OrderedDict(layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, 3, S, S)
        size = self.image_size
        if x.dim() != 4 or x.shape[1:] != (3, size, size):
            hint = "build it with image_size equal to their height and width"
            raise ValueError(f"this SmallCNN takes images (B, 3, {size}, {size}); these have {tuple(x.shape)}: {hint}.")
        return self.head(self.blocks(x))  # (B, num_classes)
