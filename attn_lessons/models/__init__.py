"""Networks, attention for any network, and weights from files."""

from .attachment import attach, detach_attention
from .description import build_network
from .glyph_net import GlyphNet
from .slot_table import slots
from .small_cnn import SmallCNN
from .vgg import VGG
from .weights import load_matching, trained

__all__ = ["VGG", "GlyphNet", "SmallCNN", "attach", "build_network", "detach_attention", "load_matching", "slots",
           "trained"]  # fmt: skip
