"""What the networks of this course share: they can be re-initialised, as a whole or part by part.

Used by the sanity checks of lesson 10.
"""

from __future__ import annotations

from torch import nn

from ..attention.base import reset


class Network(nn.Module):
    """Base of every network. A mechanism of your own is re-initialised by its ``reset_parameters``, if it has one."""

    def reset_parameters(self) -> None:
        """Re-initialise all layers and mechanisms."""
        for part in self.children():
            self.reset(part)

    def reset(self, part: nn.Module) -> None:
        """Re-initialise one layer or mechanism of this network, or all in one part of it."""
        reset(part)
