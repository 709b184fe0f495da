"""Checks of the exercises: passed, not attempted yet, or which idea is wrong. To add one, see `core.exercise`."""

from .lesson01 import check_apply_gates, check_weighted_average
from .lesson02 import check_se, check_squeeze

__all__ = ["check_apply_gates", "check_se", "check_squeeze", "check_weighted_average"]
