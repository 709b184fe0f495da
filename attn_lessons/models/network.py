"""What the networks of this course share: `reset_parameters`.

Used by the sanity checks of lesson 10.
"""

from torch import nn

from ..attention.base import reset


class Network(nn.Module):
    """Base of every network. A mechanism of your own is re-initialised by its ``reset_parameters``, if it has one."""

    def reset_parameters(self) -> None:
        """Re-initialise all layers and mechanisms."""
        for part in self.children():
            reset(part)
