"""Checks of the exercises: passed, not attempted yet, or which idea is wrong. To add one, see `core.exercise`."""

from .lesson01 import check_apply_gates, check_weighted_average
from .lesson02 import check_se
from .lesson03 import check_channel_attention, check_spatial_attention
from .lesson04 import check_adaptive_kernel, check_eca
from .lesson05 import check_ca, check_pool_both
from .lesson06 import check_linear_attend, check_repaired, check_self_attend
from .lesson07 import check_bilinear, check_reference_grid, check_sample_groups
from .lesson08 import check_initialise_attention, check_vgg_features, check_with_attention
from .lesson09 import check_cutout, check_paired, check_smooth_cross_entropy
from .lesson10 import check_grad_cam, check_point, check_repaired_cam
from .lesson11 import check_attach_to, check_cause, check_decide

__all__ = [
    "check_adaptive_kernel",
    "check_apply_gates",
    "check_attach_to",
    "check_bilinear",
    "check_ca",
    "check_cause",
    "check_channel_attention",
    "check_cutout",
    "check_decide",
    "check_eca",
    "check_grad_cam",
    "check_initialise_attention",
    "check_linear_attend",
    "check_paired",
    "check_point",
    "check_pool_both",
    "check_reference_grid",
    "check_repaired",
    "check_repaired_cam",
    "check_sample_groups",
    "check_se",
    "check_self_attend",
    "check_smooth_cross_entropy",
    "check_spatial_attention",
    "check_vgg_features",
    "check_weighted_average",
    "check_with_attention",
]
