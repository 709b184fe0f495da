"""Where attention can go in a network, found by one forward pass.

Introduced in lesson 08.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pandas as pd
import torch
from torch import nn

from ..measure import evaluation_mode

NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm, nn.Identity)


def slots(model: nn.Module, image: tuple[int, int, int] = (3, 224, 224)) -> pd.DataFrame:
    """The modules of a network that attention can follow, in the order in which they run.

    Parameters
    ----------
    model : nn.Module
    image : (int, int, int), default (3, 224, 224)
        Channels, height and width of the images.

    Returns
    -------
    pandas.DataFrame
        Index: a module's name, for `attach`. ``module``, its class; ``channels``, ``height``, ``width`` of its feature
        maps; ``usual``: where papers put attention in networks of this kind, "" elsewhere: "before the addition" on the
        residual branch of a ResNet, "after the depthwise convolution" of a MobileNet, "before the pooling" of a VGG.

    Raises
    ------
    ValueError
        If the network cannot run on `image`.

    Examples
    --------
    >>> from torchvision.models import resnet18
    >>> table = slots(resnet18())
    >>> list(table.index[table.usual == "before the addition"])[:2]
    ['layer1.0.bn2', 'layer1.1.bn2']
    """
    ran = [(name, shape) for name, shape in forward_shapes(model, image) if ".attention" not in name and name]
    modules, order = dict(model.named_modules()), [name for name, _ in ran]
    usual, rows = usual_slots(modules, order), {}
    for name, shape in ran:
        if order.count(name) == 1 and is_maps(shape, image):
            rows[name] = (type(modules[name]).__name__, *shape[1:], usual.get(name, ""))
    return pd.DataFrame.from_dict(rows, "index", columns=["module", "channels", "height", "width", "usual"])


def usual_slots(modules: dict[str, nn.Module], order: list[str]) -> dict[str, str]:
    """Module name → where papers put attention, from the kinds of modules and the order in which they run."""
    parents, found = {name.rpartition(".")[0] for name in order}, {}
    leaves = [name for name in order if name not in parents]
    for name, module in modules.items():
        if type(module).__name__ in ("BasicBlock", "Bottleneck"):
            found[f"{name}.{'bn3' if hasattr(module, 'bn3') else 'bn2'}"] = "before the addition"
        elif isinstance(module, nn.Conv2d) and 1 < module.groups == module.in_channels and name in leaves:
            i = leaves.index(name)
            while i + 1 < len(leaves) and is_norm_or_activation(modules[leaves[i + 1]]):
                i += 1
            found[leaves[i]] = "after the depthwise convolution"
    pools = [i for i, name in enumerate(leaves) if isinstance(modules[name], nn.MaxPool2d)]
    if not found and len(pools) > 1:  # a single one belongs to the stem
        found = {leaves[i - 1]: "before the pooling" for i in pools if i}
    return found


def is_norm_or_activation(module: nn.Module) -> bool:
    return isinstance(module, NORMS) or type(module).__module__.endswith("activation")


def is_maps(shape: torch.Size | str, image: tuple[int, int, int]) -> bool:
    """Whether this is (B, C, H, W). For a square image, the (B, H, W, C) of some transformers gives itself away."""
    maps = isinstance(shape, torch.Size) and len(shape) == 4
    return maps and (image[1] != image[2] or not shape[1] == shape[2] != shape[3])


@torch.no_grad()
def forward_shapes(model: nn.Module, image: tuple[int, int, int]) -> list[tuple[str, torch.Size | str]]:
    """Every module that runs, in the order in which they end, and the shape of its output: its class if no tensor."""
    like = next(model.parameters(), torch.empty(0))
    try:
        with evaluation_mode(model), forward_calls(model) as calls:
            model(torch.zeros(1, *image, device=like.device, dtype=like.dtype))
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        raise ValueError(f"this {type(model).__name__} cannot run on image={tuple(image)}: {error}") from error
    return [(name, getattr(output, "shape", type(output).__name__)) for name, _, output in calls]


@contextmanager
def forward_calls(model: nn.Module) -> Iterator[list[tuple[str, nn.Module, object]]]:
    """Keep the name, the module and the output of every call of a module in `model`, in the order in which they end."""
    calls = []

    def keep(name: str, module: nn.Module, inputs: tuple, output: object) -> None:
        calls.append((name, module, output))

    named = list(model.named_modules(remove_duplicate=False))
    hooks = [module.register_forward_hook(partial(keep, name)) for name, module in named]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()
