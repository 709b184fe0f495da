"""Exercises of lesson 08: VGG from its list of numbers, attention that moves no name, and a start for nothing else."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from ..models import VGG
from .core import WrongIdea, call, exercise, expect, guarded, same, shape_of

KINDS = {nn.Conv2d: "a convolution", nn.ReLU: "a ReLU", nn.MaxPool2d: "a max pooling"}


def reference(numbers: list[int | str]) -> nn.Sequential:
    layers, channels = [], 3
    for number in numbers:
        if number == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, number, 3, padding=1), nn.ReLU()]
            channels = number
    return nn.Sequential(*layers)


# --------------------------------------------------------------------------------------------------- exercise 1
@exercise("from a list to layers, with torchvision's order, numbers and shapes: its weights fit.")
def check_vgg_features(attempt: Callable) -> None:
    """Check exercise 1 of lesson 08: a function ``vgg_features(numbers)`` that returns an nn.Sequential."""
    for numbers in ([4, "M", 6, 5, "M"], [5, 3, "M", 7, "M", 2, 2, "M"], [6, 4]):
        given = f"the list {numbers}"
        handed = list(numbers)
        rows = guarded(attempt, handed, given=given)
        expect(handed == numbers, "your code changed the list it was given (with pop?): only read it.")
        expect(rows is not None, "your code returned None: does its last line say return?")
        expect(
            not isinstance(rows, list | tuple | nn.ModuleList),
            "you return a bare list of layers, which cannot be called: nn.Sequential(*layers) makes a row of them.",
        )
        expect(isinstance(rows, nn.Module), f"you return {type(rows).__name__}; an nn.Sequential is wanted.")
        _expect_order(rows, reference(numbers), given)
        _expect_names(rows, reference(numbers), given)
        x = torch.randn(2, 3, 16, 24)
        result = call(
            rows, x, hints={"to have": "Channels that come in are those that went out last; 3 only at first."}
        )
        right = reference(numbers)
        expect(
            result.shape == right(x).shape,
            f"for {given} and x of shape {shape_of(*x.shape)} your result has shape {shape_of(*result.shape)}: a "
            "convolution keeps height and width, by padding, and only a pooling halves them.",
        )
        right.load_state_dict(rows.state_dict())
        expect(
            same(result, right(x)),
            "the layers have the right kind and order, but compute something else: 3 × 3 windows with padding by "
            "zeros, steps of 1, and poolings of 2 × 2.",
        )


def _expect_order(rows: nn.Module, right: nn.Sequential, given: str) -> None:
    """Layer by layer, whatever they are wrapped in, the kind that VGG has there."""
    found = [layer for layer in rows.modules() if not list(layer.children()) and layer is not rows]
    have, want = [type(layer) for layer in found], [type(layer) for layer in right]
    convs = [layer for layer in found if isinstance(layer, nn.Conv2d)]
    expect(
        nn.BatchNorm2d not in have,
        "there are batch norms: the first VGG had none, and their names and numbers would shift all that follows.",
    )
    expect(nn.AvgPool2d not in have, "you average where VGG takes the largest: nn.MaxPool2d.")
    expect(nn.ReLU in have or not convs, "there is no ReLU: each convolution is followed by one.")
    for index, (one, other) in enumerate(zip(have, want, strict=False)):
        expect(
            one is other,
            f"for {given}, layer {index} should be {KINDS[other]}; yours is {KINDS.get(one, one.__name__)}. A number "
            'is a convolution and then its ReLU, "M" is a pooling.',
        )
    expect(
        len(have) == len(want),
        f"for {given} you have {len(have)} layers; two for a number and one for an \"M\" make {len(want)}.",
    )  # fmt: skip
    for layer, other in zip(convs, (c for c in right if isinstance(c, nn.Conv2d)), strict=True):
        expect(
            layer.out_channels == other.out_channels,
            f"for {given} a convolution gives {layer.out_channels} channels where the list says {other.out_channels}.",
        )
        expect(
            layer.in_channels == other.in_channels,
            f"for {given} the convolution to {layer.out_channels} channels expects {layer.in_channels}, but "
            f"{other.in_channels} come: those that went out last (3 at first; a pooling changes nothing).",
        )
        expect(
            layer.kernel_size == (3, 3),
            f"your windows are {layer.kernel_size[0]} × {layer.kernel_size[1]}: VGG has 3 × 3 everywhere.",
        )
        expect(layer.bias is not None, "your convolutions have no bias: VGG's do, and the weights come with them.")
        expect(layer.stride == (1, 1), "your convolutions step by more than 1: only the poolings make maps smaller.")


def _expect_names(rows: nn.Module, right: nn.Sequential, given: str) -> None:
    have, want = list(rows.state_dict()), list(right.state_dict())
    expect(
        have == want,
        f"for {given} the weights should be named {want[0]!r} … {want[-2]!r}, by the number of the layer in one row; "
        f"yours are {have[0]!r} … {have[-2]!r}. Is there a row inside the row?",
    )


# --------------------------------------------------------------------------------------------------- exercise 2
class Probe(nn.Module):
    """What is to be inserted: it can tell where it stands, since it grows and falls."""

    def __init__(self, channels: int):
        super().__init__()
        self.shift = nn.Parameter(torch.rand(1, channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[1] != self.shift.shape[1]:
            raise RuntimeError(f"a module built for {self.shift.shape[1]} channels was given {x.shape[1]}")
        return torch.sin(3 * x + self.shift)


@exercise("a module of its own before every pooling, and every weight still answers to its old name.")
def check_with_attention(attempt: Callable) -> None:
    """Check exercise 2 of lesson 08: a function ``with_attention(features, make)`` that returns a module."""
    for numbers in ([4, "M", 6, 5, "M"], [3, 5, "M", 4, "M", 6, "M"]):
        features, made = reference(numbers), []
        layers = list(copy.deepcopy(features))
        before = {name: value.clone() for name, value in features.state_dict().items()}

        def make(channels, made=made):
            made.append(Probe(channels))
            return made[-1]

        pools = numbers.count("M")
        given = f"features with {pools} poolings and a function that makes modules"
        result = guarded(attempt, features, make, given=given)
        expect(result is not None, "your code returned None: return the network, also where you changed it in place.")
        expect(isinstance(result, nn.Module), f"you return {type(result).__name__}: it should be a module.")
        expect(made, "make(channels) was never called: nothing was inserted.")
        _expect_same_names(result.state_dict(), before)
        x = torch.randn(2, 3, 16, 16)
        out = call(
            result,
            x,
            hints={"was given": "Each pooling has its own number of channels, that of the last convolution before it."},
        )
        used = [probe for probe in made if any(probe is part for part in result.modules())]
        expect(
            len(used) == len(made) or len(made) != pools,
            "some of your modules are not found among the network's (result.modules()): a plain list, dict or lambda "
            "hides them from the optimizer.",
        )
        expect(
            len(made) == pools,
            f"you made {len(made)} module(s) for {pools} poolings: each pooling gets one of its own, and nothing else "
            "does.",
        )
        _expect_place(out, x, layers, made)
        if out.requires_grad:
            out.square().sum().backward()
        expect(
            all(p.grad is not None and p.grad.abs().sum() > 0 for p in result.parameters()),
            "no gradient reaches some of the weights: did you use no_grad or detach?",
        )


def _expect_same_names(state: dict[str, torch.Tensor], before: dict[str, torch.Tensor]) -> None:
    missing = [name for name in before if name not in state]
    longer = {name: [other for other in state if other.endswith("." + name)] for name in missing}
    if len(missing) == len(before) and all(longer.values()):
        first = missing[0]
        raise WrongIdea(
            f"{first!r} is now called {longer[first][0]!r}: all names got longer, since the old row sits inside "
            "another module, and no weight finds its place. Change the row itself, or let your class inherit from it."
        )
    for name, old in before.items():
        expect(
            name in state and state[name].shape == old.shape,
            f"{name!r} is no longer the name of its convolution: every layer behind an inserted one has moved on by "
            "one number. How can a module come in without a number of its own in the row?",
        )
        if not torch.equal(state[name], old):
            moved = [other for other, value in before.items() if value.shape == old.shape and same(value, state[name])]
            expect(not moved, f"{name!r} now holds the weights of another layer: the numbers in the row have shifted.")
            raise WrongIdea(f"{name!r} is there, but its weights are new: keep the layers that you were given.")


def _expect_place(out: torch.Tensor, x: torch.Tensor, layers: list[nn.Module], made: list[nn.Module]) -> None:
    def run(place: str, probes: list[nn.Module]) -> torch.Tensor:
        """What comes out if a probe stands at `place` of each pooling."""
        z, at = x, 0
        for index, layer in enumerate(layers):
            pool = isinstance(layer, nn.MaxPool2d)
            ahead = isinstance(layer, nn.ReLU) and isinstance(layers[index + 1], nn.MaxPool2d)
            if (place == "before the ReLU" and ahead) or (place == "before the pooling" and pool):
                z = probes[at](z)
            z = layer(z)
            if place == "after the pooling" and pool:
                z = probes[at](z)
            at += pool
        return z

    right = run("before the pooling", made)
    if same(out, right):
        return
    expect(
        not same(out, run("", made)),
        "the modules are there, but nobody calls them: what comes out is what came out without.",
    )
    for place in ("after the pooling", "before the ReLU"):
        expect(not same(out, run(place, made)), f"your modules stand {place}: they belong right before the pooling.")
    turned = list(reversed(made))
    if all(a.shift.shape == b.shift.shape for a, b in zip(turned, made, strict=True)):
        expect(not same(out, run("before the pooling", turned)), "the modules stand in the reverse order.")
    raise WrongIdea(
        "names and modules are right, but the result is not: every layer once, in the old order, and each module once, "
        "between the last ReLU of a block and its pooling. Is something called twice, left out or added?"
    )


# --------------------------------------------------------------------------------------------------- exercise 3
class Mixed(nn.Module):
    """One layer of each kind that a mechanism may have, with weights that no initialisation would give."""

    def __init__(self, channels: int):
        super().__init__()
        self.line = nn.Linear(channels, 4 * channels)
        self.window = nn.Conv2d(channels, 32, 3)
        self.along = nn.Conv1d(8, 256, 5, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.group = nn.GroupNorm(1, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@exercise("Kaiming's weights and zero biases inside the attention; every other number is what it was.")
def check_initialise_attention(attempt: Callable) -> None:
    """Check exercise 3 of lesson 08: a function ``initialise_attention(model)`` that works in place."""
    for start, blocks in (("own", (4, 5)), ("identity", (3,))):
        model = VGG(11, 5, batch_norm=True, head="cifar", width=1 / 8, attention=Mixed, blocks=blocks, start=start)
        with torch.no_grad():
            for value in (*model.parameters(), *model.buffers()):
                value.copy_(2 + torch.rand(value.shape) if value.is_floating_point() else value)
        model.eval()
        before = copy.deepcopy(model.state_dict())
        guarded(attempt, model, given="a VGG with attention")
        after = model.state_dict()
        expect(list(after) == list(before), "some weights have changed their names, or are gone: only fill them anew.")
        changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
        expect(changed, "nothing has changed: work on the model itself, in place (functions of nn.init end in _).")
        _expect_untouched(changed, before)
        for name, module in model.attention.named_modules():
            if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
                _expect_kaiming(name, module)
        expect(not model.training, "the model is in training mode afterwards: leave the mode alone.")
        expect(
            all(p.requires_grad for p in model.parameters()),
            "some weights no longer learn: their requires_grad is off. An initialisation changes numbers only.",
        )


def _expect_untouched(changed: set[str], before: dict[str, torch.Tensor]) -> None:
    outside = [name for name in before if name in changed and not name.startswith("attention.")]
    if outside:
        share = sum(before[name].numel() for name in outside) / sum(value.numel() for value in before.values())
        raise WrongIdea(
            f"{100 * share:.0f} % of the network's numbers outside the attention are gone, {outside[0]!r} among them: "
            "what was learned there must stay. Which part of the model holds the attention alone?"
        )
    norms = sorted(name for name in changed if ".norm." in name or ".group." in name)
    expect(not norms, f"{norms[:1]} belongs to a norm: only linear layers and convolutions are drawn anew.")
    scales = [name for name in changed if name.endswith("scale")]
    expect(not scales, f"{scales[:1]} is what makes the start an identity: leave it alone.")


def _expect_kaiming(name: str, module: nn.Module) -> None:
    """Normal, with variance 2 / fan-in, and a bias of zeros."""
    kind, weight = type(module).__name__, module.weight.detach()
    wide = weight[0].numel()  # fan-in
    high = weight.shape[0] * weight[0, 0].numel()  # fan-out
    expect(weight.mean() < 1.5, f"the weights of a {kind} ({name}) are what they were: which kinds do you ask for?")
    expect(weight.std() > 0, f"all weights of a {kind} ({name}) are equal: then all its units would learn the same.")
    sizes = {
        "PyTorch's own start (reset_parameters), a third of Kaiming's size or less": (1 / (3 * wide)) ** 0.5,
        "Xavier's, with the mean of fan-in and fan-out": (2 / (wide + high)) ** 0.5,
        "Kaiming's with fan_out instead of fan_in": (2 / high) ** 0.5,
        "Kaiming's without the 2 that makes up for the ReLU (nonlinearity='relu')": (1 / wide) ** 0.5,
    }
    if abs(weight.std() - (2 / wide) ** 0.5) > 0.06 * (2 / wide) ** 0.5:
        close = min(sizes, key=lambda size: abs(sizes[size] - weight.std().item()))
        near = abs(sizes[close] - weight.std().item()) < 0.06 * sizes[close]
        known = f"; that looks like {close}" if near else ""
        raise WrongIdea(
            f"the weights of a {kind} with fan-in {wide} have standard deviation {weight.std():.3f}, Kaiming's would "
            f"be √(2 / {wide}) = {(2 / wide) ** 0.5:.3f}{known}."
        )
    expect(weight.abs().max() > 2.2 * weight.std(), "your weights are uniform; Kaiming's normal distribution is meant.")
    if module.bias is not None:
        expect(not module.bias.any(), f"the bias of a {kind} ({name}) is not zero: it should be.")
