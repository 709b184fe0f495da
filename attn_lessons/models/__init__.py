"""Networks with slots for attention. A slot takes a mechanism's name or your own class."""

from .glyph_net import GlyphNet
from .small_cnn import SmallCNN

__all__ = ["GlyphNet", "SmallCNN"]
