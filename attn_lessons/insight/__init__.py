"""Seeing what a network looks at, and scoring it against the truth. Grad-CAM is in `attn_lessons.insight.cam`."""

from .diagnosis import diagnose
from .feature_maps import features, target_layer
from .localise import centre_map, energy_pointing_game, iou, localisation, pointing_game, spatial_map
from .photographs import classify
from .sanity import randomised, sanity_check, similarity, verdict
from .variance import explained_variance

__all__ = ["centre_map", "classify", "diagnose", "energy_pointing_game", "explained_variance", "features", "iou",
           "localisation", "pointing_game", "randomised", "sanity_check", "similarity", "spatial_map",
           "target_layer", "verdict"]  # fmt: skip
