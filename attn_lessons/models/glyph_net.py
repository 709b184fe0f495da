"""GlyphNet: a small receptive field and a linear head, so that attention has to bring in the rest of the image.

Introduced in lesson 01.
"""

import torch
from torch import nn

from ..arguments import whole_number
from ..attention import Mechanism, build_attention
from .network import Network


class GlyphNet(Network):
    """Three convolutions, then an average over all positions: the network that reads GlyphWorld in lessons 01 to 07.

    Parameters
    ----------
    num_classes : int, default 4
    attention : str or callable, default "none"
        What stands in the two slots, after the second and the third convolution: a name or a class that
        `attn_lessons.attention.build_attention` takes.
    deep : bool, default False
        Add three more convolutions, after which a cell sees 63×63 pixels: the control of lesson 01.
    **options
        Handed on to the mechanism.

    Notes
    -----
    Images of 64×64 pixels become 16×16 cells; a cell sees 7×7 pixels. Without attention, the answer is a sum of local
    votes, which settles at the ceiling of a GlyphWorld puzzle (`attn_lessons.datasets.CEILINGS`). The slots are filled
    last, so that one seed gives one and the same backbone, whatever stands in the slots.
    """

    def __init__(self, num_classes: int = 4, attention: Mechanism = "none", deep: bool = False, **options):
        super().__init__()
        whole_number("num_classes", num_classes, 1)
        self.features = nn.Sequential()
        self.features.block1 = self.block(3, 24, kernel=3, stride=2)
        self.features.block2 = self.block(24, 48, kernel=3, stride=2)
        self.features.attention2 = nn.Identity()
        self.features.block3 = self.block(48, 48, kernel=1)
        self.features.attention3 = nn.Identity()
        if deep:
            self.features.block4 = self.block(48, 48, kernel=3, stride=2)
            self.features.block5 = self.block(48, 48, kernel=3, stride=2)
            self.features.block6 = self.block(48, 48, kernel=3)
        self.norm = nn.BatchNorm1d(48)
        self.classify = nn.Linear(48, num_classes)
        self.features.attention2 = build_attention(attention, 48, **options)
        self.features.attention3 = build_attention(attention, 48, **options)

    @staticmethod
    def block(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, 3, H, W)
        if x.dim() != 4 or x.shape[1] != 3:
            raise ValueError(f"GlyphNet takes images of shape (B, 3, H, W); these have shape {tuple(x.shape)}.")
        features = self.features(x)  # (B, 48, H/4, W/4); deep: H/16, W/16
        return self.classify(self.norm(features.mean((2, 3))))  # (B, num_classes)

    @torch.no_grad()
    def position_logits(self, x: torch.Tensor) -> torch.Tensor:  # (B, 3, H, W)
        """What every position says alone, (B, num_classes, h, w): in evaluation mode, their mean is the answer."""
        features = self.features(x).permute(0, 2, 3, 1)  # (B, h, w, 48)
        position_logits = self.classify(self.norm(features.flatten(0, 2)))
        return position_logits.unflatten(0, features.shape[:3]).permute(0, 3, 1, 2)
