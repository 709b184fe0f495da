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
        given, handed = f"the list {numbers}", list(numbers)
        rows = guarded(attempt, handed, given=given)
        expect(handed == numbers, "your code changed the list it was given (with pop?): only read it.")
        expect(rows is not None, "your code returned None: does its last line say return?")
        bare = "you return a bare list of layers, which cannot be called: nn.Sequential(*layers) makes a row of them."
        expect(not isinstance(rows, list | tuple | nn.ModuleList), bare)
        expect(isinstance(rows, nn.Module), f"you return {type(rows).__name__}; an nn.Sequential is wanted.")
        _expect_order(rows, reference(numbers), given)
        x, right = torch.randn(2, 3, 16, 24), reference(numbers)
        result = call(rows, x)
        told = (
            f"{shape_of(*x.shape)} becomes {shape_of(*result.shape)} with {given}: a convolution keeps height and width"
        )
        expect(result.shape == right(x).shape, f"{told}, by padding, and only a pooling halves them.")
        right.load_state_dict(rows.state_dict())
        rules = "3 × 3 windows with padding by zeros, steps of 1, and poolings of 2 × 2."
        expect(same(result, right(x)), f"right layers in the right order, but they compute something else: {rules}")


def _expect_order(rows: nn.Module, right: nn.Sequential, given: str) -> None:
    """Layer by layer, whatever they are wrapped in, the kind that VGG has there; then the names."""
    found = [layer for layer in rows.modules() if not list(layer.children())]
    have, want = [type(layer) for layer in found], [type(layer) for layer in right]
    expect(len(found) > 1, f"for {given} you return a single layer: nn.Sequential(*layers) makes a row of them all.")
    expect(nn.BatchNorm2d not in have, "there are batch norms: the first VGG had none, and they shift what follows.")
    expect(nn.AvgPool2d not in have, "you average where VGG takes the largest: nn.MaxPool2d.")
    expect(nn.ReLU in have or nn.Conv2d not in have, "there is no ReLU: each convolution is followed by one.")
    for index, (one, other) in enumerate(zip(have, want, strict=False)):
        told = f"for {given}, layer {index} should be {KINDS[other]}; yours is {KINDS.get(one, one.__name__)}."
        expect(one is other, told + ' A number is a convolution and then its ReLU, "M" is a pooling.')
    told = f"for {given} you have {len(have)} layers; two for a number and one for an M make {len(want)}."
    expect(len(have) == len(want), told)
    for mine, other in zip(found, right, strict=True):
        if isinstance(other, nn.Conv2d):
            _expect_convolution(mine, other, given)
    have, want = list(rows.state_dict()), list(right.state_dict())
    told = f"for {given} the weights should be named {want[0]!r} … {want[-2]!r}, by the layer's number in a single row"
    expect(have == want, f"{told}; yours are {have[0]!r} … {have[-2]!r}. Is there a row inside the row?")


def _expect_convolution(mine: nn.Conv2d, other: nn.Conv2d, given: str) -> None:
    out, size = mine.out_channels, mine.kernel_size[0]
    for right, idea in (
        (out == other.out_channels, f"gives {out} channels where the list says {other.out_channels}."),
        (mine.in_channels == other.in_channels, f"to {out} channels expects {mine.in_channels}, but "
         f"{other.in_channels} come: those that went out last (3 at first; a pooling changes nothing)."),
        (mine.kernel_size == (3, 3), f"has a window of {size} × {size}: VGG has 3 × 3 everywhere."),
        (mine.bias is not None, "has no bias: VGG's do, and the weights come with them."),
        (mine.stride == (1, 1), "takes steps by more than 1: only the poolings make maps smaller."),
    ):  # fmt: skip
        expect(right, f"for {given} a convolution {idea}")


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
        own = "Each pooling has its own number of channels, that of the last convolution before it."
        out = call(result, x, hints={"was given": own})
        told = f"you made {len(made)} module(s) for {pools} poolings: each pooling gets one of its own, nothing else."
        expect(len(made) == pools, told)
        hidden = "some modules are not among result.modules(): a list, dict or lambda hides them from an optimizer."
        expect(set(made) <= set(result.modules()), hidden)
        _expect_place(out, x, layers, made)
        if out.requires_grad:
            out.square().sum().backward()
        learns = all(p.grad is not None and p.grad.abs().sum() > 0 for p in result.parameters())
        expect(learns, "no gradient reaches some of the weights: did you use no_grad, detach or requires_grad?")


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
        index = name.partition(".")[0]
        deeper = [other for other in state if other.startswith(index + ".") and other.count(".") > 1]
        told = (
            f"the convolution {name!r} now sits in a row of its own, with {deeper[:2]}: leave layers with weights alone"
        )
        expect(name in state or not deeper, f"{told}, and put the module beside a layer without.")
        told = (
            f"{name!r} is no longer the name of its convolution: what comes behind a new layer moved on by one number"
        )
        own = "How can a module come in without a number of its own in the row?"
        expect(name in state and state[name].shape == old.shape, f"{told}. {own}")
        moved = any(value is not old and same(value, state[name]) for value in before.values())
        kept = torch.equal(state[name], old)
        expect(kept or not moved, f"{name!r} now holds another layer's weights: the numbers in the row have shifted.")
        expect(kept, f"{name!r} is there, but its weights are new: keep the layers that you were given.")


def _expect_place(out: torch.Tensor, x: torch.Tensor, layers: list[nn.Module], made: list[nn.Module]) -> None:
    def run(position: str) -> torch.Tensor:
        """What comes out if a module stands at `position` of each pooling."""
        z, waiting = x, iter(made)
        for layer, following in zip(layers, (*layers[1:], None), strict=True):
            here = {"before the pooling": layer, "before the ReLU": following, "after the pooling": layer}.get(position)
            if not isinstance(here, nn.MaxPool2d):
                z = layer(z)
            else:
                module = next(waiting)
                z = module(layer(z)) if position.startswith("after") else layer(module(z))
        return z

    if same(out, run("before the pooling")):
        return
    expect(not same(out, run("")), "nobody calls the modules: what comes out is what came out without them.")
    for position in ("after the pooling", "before the ReLU"):
        expect(not same(out, run(position)), f"your modules stand {position}: they belong right before the pooling.")
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
        learn = all(p.requires_grad for p in model.parameters())
        expect(learn, "some weights no longer learn: requires_grad is off. An initialisation changes numbers only.")


def _expect_untouched(changed: set[str], before: dict[str, torch.Tensor]) -> None:
    outside = [name for name in before if name in changed and ".attention." not in name]
    share = sum(before[name].numel() for name in outside) / sum(value.numel() for value in before.values())
    told = f"numbers outside the attention are gone, {100 * share:.1f} % of all, {outside[:1]} among them"
    stay = "what was learned there must stay. Which part of the model holds the attention alone?"
    expect(not outside, f"{told}: {stay}")
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
    sd, wanted = weight.std().item(), (2 / wide) ** 0.5
    known = "".join(f"; that looks like {name}" for name, size in sizes.items() if abs(sd - size) < 0.06 * size)
    told = f"the weights of a {kind} with fan-in {wide} have standard deviation {sd:.3f}, Kaiming's would be "
    expect(abs(sd - wanted) < 0.06 * wanted, f"{told}√(2 / {wide}) = {wanted:.3f}{known}.")
    expect(weight.abs().max() > 2.2 * weight.std(), "your weights are uniform; Kaiming's normal distribution is meant.")
    if module.bias is not None:
        expect(not module.bias.any(), f"the bias of a {kind} ({name}) is not zero: it should be.")
