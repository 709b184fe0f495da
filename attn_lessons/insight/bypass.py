"""The attention of a network, and the same network without it.

Used in lesson 11.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from torch import nn

from ..attention.base import Attention
from ..models.attachment import IdentityStart, attached


def mechanisms(model: nn.Module) -> dict[str, nn.Module]:
    """Name → mechanism: what `attach` has put in, and mechanisms of the course; none of them inside another."""
    names = [f"{name}.{path}".lstrip(".") for name, host in model.named_modules() for path in attached(host)]
    names += [name for name, part in model.named_modules() if isinstance(part, Attention | IdentityStart)]
    outer = [name for name in names if not any(name.startswith(f"{other}.") for other in names)]
    return {name: model.get_submodule(name) for name in dict.fromkeys(outer)}


@contextmanager
def hooked(modules: dict[str, nn.Module], hook: Callable) -> Iterator[None]:
    """Run ``hook(name, x, y)`` after each module; what it returns takes the place of y."""
    handles = [
        module.register_forward_hook(lambda _, inputs, y, name=name: hook(name, inputs[0], y))
        for name, module in modules.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def bypassed(model: nn.Module) -> AbstractContextManager:
    """Every mechanism gives back its input inside the block."""
    return hooked(mechanisms(model), lambda name, x, y: x)
