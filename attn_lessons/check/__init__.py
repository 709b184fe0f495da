"""Checks of the exercises: passed, not attempted yet, or which idea is wrong. To add one, see `core.exercise`."""

from .lesson01 import check_apply_gates, check_weighted_average
from .lesson02 import check_se, check_squeeze
from .lesson03 import check_channel_attention, check_spatial_attention
from .lesson04 import check_adaptive_kernel, check_eca
from .lesson05 import check_ca, check_pool_both
from .lesson06 import check_linear_attend, check_repaired, check_self_attend
from .lesson07 import check_bilinear, check_reference_grid, check_sample_groups

__all__ = [
    "check_adaptive_kernel",
    "check_apply_gates",
    "check_bilinear",
    "check_ca",
    "check_channel_attention",
    "check_eca",
    "check_linear_attend",
    "check_pool_both",
    "check_reference_grid",
    "check_repaired",
    "check_sample_groups",
    "check_se",
    "check_self_attend",
    "check_spatial_attention",
    "check_squeeze",
    "check_weighted_average",
]
