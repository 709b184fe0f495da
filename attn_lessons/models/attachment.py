"""Attention after any module of any network: torchvision's, timm's, your own. Nothing is renamed, nothing rewritten.

Introduced in lesson 08.
"""

import inspect
from collections.abc import Iterable
from difflib import get_close_matches
from functools import partial

import torch
from torch import nn

from ..arguments import one_of
from ..attention import MECHANISMS, Mechanism, build_attention
from ..attention.base import reset
from .slot_table import forward_shapes, is_maps, slots


def attach(model: nn.Module, mechanism: Mechanism, after: str | Iterable[str] | None = None, start: str = "identity",
           image: tuple[int, int, int] = (3, 224, 224), **options) -> nn.Module:  # fmt: skip
    """Weight what the modules named in `after` give, before anything else sees it.

    Parameters
    ----------
    model : nn.Module
        Any network that takes images (B, C, H, W). Changed in place.
    mechanism : str or callable
        A name or a class that `attn_lessons.attention.build_attention` takes.
    after : str or iterable of str, optional
        Names of modules that run once and give feature maps (B, C, H, W): `slots` lists them. Without it, all those
        that are ``usual`` there: where papers put attention in networks of this kind.
    start : {"identity", "own", "kaiming"}, default "identity"
        How each mechanism starts: as the identity (see `IdentityStart`), which leaves every output of the network as it
        was until it is trained further; as its paper initialises it; or with Kaiming's initialisation.
    image : (int, int, int), default (3, 224, 224)
        Channels, height and width of the images, for the passes that find the shapes of the feature maps.
    **options
        Handed on to the mechanism, ``reduction=8`` for example.

    Returns
    -------
    nn.Module
        `model` itself.

    Raises
    ------
    ValueError
        If a name in `after` is not in the network, or its module does not run exactly once, or gives no feature maps;
        if `after` is left out and no place is usual; if the network cannot run on `image`. The network is then as it
        was.

    Notes
    -----
    All names in the state dict stay, so weights load before or after. The new ones have ``.attention.`` in them. The
    mechanism is a child of the module that it follows, and runs in a forward hook of that module. A container runs or
    lists its children by itself, so there the mechanism is a child of its last child.

    Copies, pickles, `torch.save`, `torch.compile`, `torch.export`, `torch.fx` and `torch.jit.trace` see an ordinary
    network.

    Examples
    --------
    >>> from torchvision.models import resnet18
    >>> model = attach(resnet18(), "cbam")  # on all eight residual branches
    >>> model = attach(resnet18(), "cbam", after=["layer4.0.bn2", "layer4.1.bn2"], image=(3, 64, 64))
    >>> [name for name in model.state_dict() if "attention.scale" in name]
    ['layer4.0.bn2.attention.scale', 'layer4.1.bn2.attention.scale']
    """
    one_of("start", start, ("identity", "own", "kaiming"))
    if after is None:
        after = usual_places(model, image)
    after = [after] if isinstance(after, str) else list(after)
    hosts = {name: module_called(name, model) for name in after}
    ran, like, made = forward_shapes(model, image), next(model.parameters(), torch.empty(0)), {}
    for name in hosts:
        channels, *size = feature_maps([shape for other, shape in ran if other == name], name, image)
        size = {"size": tuple(size)} if takes_size(mechanism) else {}
        made[name] = started(build_attention(mechanism, channels, **size | options), start)
    if mechanism == "none":
        return model
    paths = {name: put(made[name].to(like.device, like.dtype).train(host.training), host)
             for name, host in hosts.items()}  # fmt: skip
    ran = [name for name, _ in forward_shapes(model, image)]
    if wrong := [name for name, path in paths.items() if ran.count(f"{name}.{path}") != 1]:
        for name, path in paths.items():
            take_out(hosts[name], path)
        raise ValueError(f"after={wrong[0]!r} calls its children one by one, and would call attention, too: name one.")
    return model


def detach_attention(model: nn.Module) -> nn.Module:
    """Take out everything that `attach` has put into `model`, which is changed in place and returned.

    Examples
    --------
    >>> from torchvision.models import resnet18
    >>> names = list(resnet18().state_dict())
    >>> model = detach_attention(attach(resnet18(), "se", after="layer4"))
    >>> list(model.state_dict()) == names
    True
    """
    for host in list(model.modules()):
        for path in attached(host):
            take_out(host, path)
    return model


class IdentityStart(nn.Module):
    """A mechanism that starts as the identity: x + s·(mechanism(x) − x), where s is learned and starts at 0.

    Bachlechner et al.: ReZero is All You Need. UAI 2021. https://arxiv.org/abs/2003.04887
    Used in lesson 08.
    """

    def __init__(self, mechanism: nn.Module):
        super().__init__()
        self.mechanism = mechanism
        self.scale = nn.Parameter(torch.zeros(()))

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.scale)
        reset(self.mechanism)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.scale * (self.mechanism(x) - x)


def started(mechanism: nn.Module, start: str) -> nn.Module:
    if start == "kaiming":
        initialise_by_kaiming(mechanism)
    return IdentityStart(mechanism) if start == "identity" else mechanism


def restart(attention: nn.Module, start: str) -> None:
    """Re-initialise what `started` gave."""
    reset(attention)
    if start == "kaiming":
        initialise_by_kaiming(attention)


def initialise_by_kaiming(mechanism: nn.Module) -> None:
    for module in mechanism.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def module_called(name: str, model: nn.Module) -> nn.Module:
    names = [known for known, _ in model.named_modules(remove_duplicate=False)]
    if name not in names:
        similar = get_close_matches(name, names, 3) or names[1:4]
        hint = f"similar names are {', '.join(map(repr, similar))}; slots(model) lists those that take attention"
        raise ValueError(f"after={name!r} is no module of this {type(model).__name__}: {hint}.")
    return model.get_submodule(name)


def usual_places(model: nn.Module, image: tuple[int, int, int]) -> list[str]:
    table = slots(model, image)
    if not (table.usual != "").any():
        raise ValueError(f"no place is usual in this {type(model).__name__}: name one, after=…; slots(model) has them.")
    return list(table.index[table.usual != ""])


def feature_maps(shapes: list[torch.Size | str], name: str, image: tuple[int, int, int]) -> torch.Size:
    """C, H and W of what the module `name` gives, or one sentence that says what it does instead."""
    if len(shapes) != 1:
        raise ValueError(f"after={name!r} must run once in a forward pass; it runs {len(shapes)} times.")
    if not is_maps(shapes[0], image):
        gives = f"shape {tuple(shapes[0])}" if isinstance(shapes[0], torch.Size) else f"a {shapes[0]}"
        raise ValueError(f"after={name!r} must give feature maps (B, C, H, W); it gives {gives}.")
    return shapes[0][1:]


def takes_size(mechanism: Mechanism) -> bool:
    """Whether a mechanism is built for one height and width."""
    mechanism = MECHANISMS.get(mechanism, mechanism) if isinstance(mechanism, str) else mechanism
    return callable(mechanism) and "size" in inspect.signature(mechanism).parameters


def put(attention: nn.Module, host: nn.Module) -> str:
    """Make `attention` a child of `host`, or of the last module in a container, and run it after; returns its path."""
    home, path = host, ""
    while isinstance(home, nn.Sequential | nn.ModuleList | nn.ModuleDict) and len(home):
        *_, (name, home) = home.named_children()
        path += f"{name}."
    others = sum(child.startswith("attention") for child in home._modules)
    name = f"attention{others + 1}" if others else "attention"
    home.add_module(name, attention)
    host.register_forward_hook(partial(run_attention, path + name))
    let_compilers_look()
    return path + name


def let_compilers_look() -> None:
    """Have `torch.compile` look at hooks: by default it takes the code of a network for the same one with attention."""
    import torch._dynamo  # takes a second

    if torch._dynamo.config.skip_nnmodule_hook_guards:
        torch._dynamo.config.skip_nnmodule_hook_guards = False
        torch.compiler.reset()  # what has been compiled before did not look


def take_out(host: nn.Module, path: str) -> None:
    home, _, name = path.rpartition(".")
    del host._forward_hooks[attached(host)[path]], host.get_submodule(home)._modules[name]


def run_attention(path: str, host: nn.Module, inputs: tuple, output: torch.Tensor) -> torch.Tensor:
    """The forward hook: a function of this file, which can be pickled, and no closure over a module, which copies."""
    return host.get_submodule(path)(output)


def attached(host: nn.Module) -> dict[str, int]:
    """Path of each mechanism that `attach` runs after `host` → the key of its hook."""
    hooks = host._forward_hooks.items()
    return {hook.args[0]: key for key, hook in hooks if isinstance(hook, partial) and hook.func is run_attention}
