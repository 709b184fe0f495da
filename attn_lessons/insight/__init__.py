"""Seeing what a network looks at, and scoring it against the truth."""

from .explained import explained
from .localise import place_map, pointing_game

__all__ = ["explained", "place_map", "pointing_game"]
