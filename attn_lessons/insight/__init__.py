"""Seeing what a network looks at, and scoring it against the truth."""

from .localise import place_map, pointing_game

__all__ = ["place_map", "pointing_game"]
