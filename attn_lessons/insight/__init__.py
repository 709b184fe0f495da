"""Seeing what a network looks at, and scoring it against the truth. Grad-CAM is in `attn_lessons.insight.cam`."""

from .draw import show_gates, show_points, show_row
from .feature_maps import features, show_features, target_layer
from .localise import (
    box_masks,
    centre_map,
    energy_pointing_game,
    insertion_deletion,
    iou,
    localisation,
    pointing_game,
    spatial_map,
)
from .sanity import randomised, sanity_check, similarity, verdict
from .variance import explained_variance

__all__ = [
    "box_masks",
    "centre_map",
    "energy_pointing_game",
    "explained_variance",
    "features",
    "insertion_deletion",
    "iou",
    "localisation",
    "pointing_game",
    "randomised",
    "sanity_check",
    "show_features",
    "show_gates",
    "show_points",
    "show_row",
    "similarity",
    "spatial_map",
    "target_layer",
    "verdict",
]
