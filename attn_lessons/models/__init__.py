"""Networks with slots for attention. A slot takes a mechanism's name or your own class."""

from .glyph_net import GlyphNet
from .small_cnn import SmallCNN
from .vgg import VGG
from .weights import load_matching, trained

__all__ = ["VGG", "GlyphNet", "SmallCNN", "load_matching", "trained"]
