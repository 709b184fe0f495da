"""Exercises of lesson 08: VGG from its list of numbers, attention that moves no name, and a start for nothing else."""

import ast
import copy
from collections.abc import Callable
from itertools import pairwise, zip_longest

import torch
from torch import nn

from ..models import VGG
from . import core, probes
from .core import call, exercise, expect, expect_all, guarded, kind
from .source import functions, reading
from .steps import explain
from .steps_vgg import INSERTED, RESULT, STARTS, Mixed, Probe, alike, filled, inserted, vgg

TWINS = "two layers of equal size have the same weights (one layer twice, copies, a seed before each): draw new ones."
TOLD = {  # what torch says → what it means here
    "is not a Module subclass": "A row holds layers: a class needs brackets, nn.ReLU(), and a list a star, *layers.",
    "not all arguments converted": 'An "M" was handed to a convolution: test for it first.',
    "'out_channels'": "A pooling has no channels of its own: remember those of the last convolution before it.",
    "during iteration": "Go through list(…) of what you change.",
    "Boolean value of Tensor": "Whether there is a bias is another question than whether it is 0: test for None.",
    "NoneType": "Some layers have no bias: theirs is None.",
    "as parameter 'weight'": "Fill the weight that is there, with a function that ends in _.",
    "fewer than 2 dimensions": "Norms, and every bias, have a single row of numbers: Kaiming's is for other weights.",
    "leaf Variable": "Outside of training, write weights under torch.no_grad, as the functions of nn.init do.",
}


def _own_weights(weights: list[nn.Parameter]) -> bool:
    pairs = [(a, b) for i, a in enumerate(weights) for b in weights[:i] if a.shape == b.shape]
    return not any(a is b or (a.dim() > 1 and core.same(a, b)) for a, b in pairs)


def _expect_ready(network: nn.Module) -> None:
    training = all(part.training for part in network.modules())
    expect(training, "the network, or part of it, is in evaluation mode afterwards: leave the mode alone.")
    learns = all(p.requires_grad for p in network.parameters())
    expect(learns, "some weights cannot learn any more: leave requires_grad on.")


# --------------------------------------------------------------------------------------------------- exercise 3
KINDS = {nn.Conv2d: "a convolution", nn.ReLU: "a ReLU", nn.MaxPool2d: "a max pooling", type(None): "nothing"}
SETTINGS = {  # of layers → what is right
    "out_channels": "the list says how many go out, and what comes stands before it",
    "in_channels": "what comes is what went out last (3 at first; a pooling changes nothing)",
    "kernel_size": "VGG's convolutions have windows of 3 × 3 everywhere, its poolings of 2 × 2",
    "stride": "convolutions take steps of 1, and poolings halve the maps with windows side by side",
    "padding": "a window of 3 keeps height and width with 1 on each side, a pooling has none",
    **dict.fromkeys(("dilation", "groups", "padding_mode", "ceil_mode"), "VGG leaves that as PyTorch has it"),
}


def acts_as(mine: nn.Module | None, other: nn.Module | None) -> bool:
    """Does it compute the same as this ReLU or pooling, whatever it is called?"""
    x = 10 * torch.randn(3, 5, 9, 11)
    alone = isinstance(mine, nn.Module) and not list(mine.parameters())
    return (
        alone
        and not isinstance(other, nn.Conv2d | None)
        and core.same(guarded(mine, x, given="a feature map"), other(x))
    )


@exercise("from a list to layers, with torchvision's order, numbers and shapes: its weights fit.")
def check_vgg_features(attempt: Callable) -> None:
    """Check exercise 3 of lesson 08: a function ``vgg_features(numbers)`` that returns an nn.Sequential."""
    for numbers in ([6, "M", 9, 7, "M"], [5, 3, "M", 7, "M", 5, 5, 5, "M"], [6, 8]):
        given, right, rows = f"the list {numbers}", vgg(numbers), []
        for _ in range(2):
            rows.append(guarded(attempt, handed := list(numbers), given=given, hints=TOLD))
            row = rows[-1]
            expect(handed == numbers, "your code changed the list it was given (with pop?): only read it.")
            expect(isinstance(row, nn.Sequential), f"you return {kind(row)}: nn.Sequential(*layers) makes a row.")
        once = "a second call gives other layers than the first: a list made outside of the function, or as a default "
        expect(len(rows[0]) == len(row), f"{once}of an argument, keeps what was put in before.")
        for i, (mine, other) in enumerate(zip_longest(row, right)):
            told, have, want = f"for {given}, layer {i}", KINDS.get(type(mine), kind(mine)), KINDS[type(other)]
            rule = "A number is a convolution and then its ReLU, an M is a max pooling, all of them in a single row."
            wrong = reading(attempt) or f"{told} should be {want}; yours is {have}. {rule}"
            if acts_as(mine, other):
                continue
            expect(isinstance(mine, type(other)), wrong)
            for name, idea in SETTINGS.items():
                value, wanted = (getattr(layer, name, None) for layer in (mine, other))
                expect(value in (wanted, (wanted, wanted), "same"), f"{told}, {want}, has {name}={value}: {idea}.")
            bias = getattr(mine, "bias", 0) is not None
            expect(bias, f"{told}, {want}, has no bias: VGG's do, and the weights come with them.")
        have, want = list(row.state_dict()), list(right.state_dict())
        expect(have == want, f"the weights are called {want[:3]} …, by the numbers of their layers; yours {have[:3]}.")
        weights = [p for row in rows for p in row.state_dict(keep_vars=True).values()]
        expect(_own_weights(weights), TWINS)
        _expect_ready(row)


# --------------------------------------------------------------------------------------------------- exercise 1
@exercise("a module of its own before every pooling, and every weight still answers to its old name.")
def check_with_attention(attempt: Callable) -> None:
    """Check exercise 1 of lesson 08: a function ``with_attention(features, make)`` that returns a module."""
    for numbers in ([7, 5, "M", 6, 5, "M"], [5, "M", 7, 6, "M", 3]):
        row, made, x = vgg(numbers), [], torch.randn(3, 3, 19, 22)
        old, wanted = copy.deepcopy(row), [n for n, after in pairwise(numbers) if after == "M"]

        def make(channels, made=made):
            made.append(Probe(channels))
            return made[-1]

        result = guarded(attempt, row, make, given="features and make", hints=TOLD)
        network = f"you return {kind(result)}: return the network, a module, also where you changed it in place."
        expect(isinstance(result, nn.Module), network)
        asked = [len(module.shift[0]) for module in made]
        told = f"make was called for {asked} channels, and {wanted} come to the poolings of {numbers}: each pooling "
        expect(sorted(asked) == sorted(wanted), f"{told}gets a module of its own, made for the channels that come.")
        _expect_same_names(result.state_dict(), old.state_dict())
        with core.shapes_inside(result, Probe) as (seen, _):
            out = call(result, x, hints=TOLD)
        called, inside = dict.fromkeys(one for one, _ in seen), [m for m in result.modules() if isinstance(m, Probe)]
        told = f"result.modules() has {len(inside)} of {len(made)} modules: a list, dict or lambda hides them from an "
        expect(len(inside) == len(made), f"{told}optimizer. Or do you use one several times, or forget to put it in?")
        expect(called, "your modules are never called: the network gives what it gave without.")
        told = "some of your modules are never called. A function made in a loop uses the loop's last values, whenever "
        expect(len(called) == len(made), f"{told}it is called: hand it the module itself.")
        expect(_own_weights([module.shift for module in inside]), TWINS)
        otherwise = "names and modules are right, but the result is not: every layer once, in the old order, and each "
        otherwise += "module once, between the last ReLU of a block and its pooling."
        explain(out, inserted, (x, old, list(called)), INSERTED, otherwise, attempt, values=RESULT)
        _expect_ready(result)
        probes.expect_learning(result, x, "some of the layers")


def _expect_same_names(state: dict[str, torch.Tensor], before: dict[str, torch.Tensor]) -> None:
    for name, old in before.items():
        longer = [one for one in state if one.endswith("." + name)]
        deeper = [one for one in state if one.startswith(name.partition(".")[0] + ".") and one.count(".") > 1]
        expect_all(
            (name in state or not longer, f"{name!r} is now called {longer[:1]}: the old row sits inside another "
             "module, and all names got longer. Change the row itself, or let your class inherit from it."),
            (name in state or not deeper, f"the convolution {name!r} now sits in a row of its own, with {deeper[:2]}: "
             "leave layers with weights alone, and put the module beside a layer without."),
            (name in state, f"{name!r} is no longer the name of its convolution: what comes after a new layer moved on "
             "by one number. How can a module come in without a number of its own in the row?"),
            (core.same(state.get(name, old), old), f"{name!r} has new weights, or another layer's: keep every layer "
             "and its number."),
        )  # fmt: skip


# --------------------------------------------------------------------------------------------------- exercise 2
@exercise("Kaiming's weights and zero biases inside the attention; every other number is what it was.")
def check_initialise_attention(attempt: Callable) -> None:
    """Check exercise 2 of lesson 08: a function ``initialise_attention(model)`` that works in place."""
    for start, blocks in (("own", (4, 5)), ("identity", (5,))):
        model = VGG(11, 5, batch_norm=True, head="cifar", width=1 / 8, attention=Mixed, blocks=blocks, start=start)
        model = model if start == "own" else model.double()
        for value in model.state_dict().values():
            value.copy_(2 + torch.rand(value.shape))
        old = copy.deepcopy(model)
        guarded(attempt, model, given="a VGG with attention", hints=TOLD)
        _expect_untouched(model.state_dict(), old.state_dict())
        layers = {n: m for n, m in model.attention.named_modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d)}
        weights = {name: one.weight.detach() for name, one in layers.items()}
        before = {name: old.attention.get_submodule(name).weight.detach() for name in layers}
        left = [name for name in layers if torch.equal(weights[name], before[name])]
        expect(not left, f"the weights of {', '.join(left[:2])} are what they were: {_why(attempt, layers, left)}")
        wrong = [name for name in layers if not alike(weights[name], filled(before[name]))]
        for idea, fill in STARTS.items():
            expect(not wrong or not all(alike(weights[name], filled(before[name], fill)) for name in layers), idea)
        for name, one in layers.items():
            told, wide = f"of a {type(one).__name__} ({name})", weights[name][0].numel()
            size = f"standard deviation {weights[name].std():.3f}; normal numbers of {(2 / wide) ** 0.5:.3f} are wanted"
            expect(name not in wrong, f"the weights {told} have {size}, the root of 2 / {wide}, its fan-in.")
            expect(one.bias is None or not one.bias.any(), f"the bias {told} is not zero: it should be.")
        expect(_own_weights(list(weights.values())), TWINS)
        _expect_ready(model)


def _expect_untouched(after: dict[str, torch.Tensor], before: dict[str, torch.Tensor]) -> None:
    expect(list(after) == list(before), "some weights have changed their names, or are gone: only fill them anew.")
    alien = [n for n in after if (after[n].dtype, after[n].shape) != (before[n].dtype, before[n].shape)]
    expect(not alien, f"{alien[:1]} has another type or shape than before: fill it with numbers of its own type.")
    changed = [n for n in after if not torch.equal(after[n], before[n])]
    outside = [n for n in changed if ".attention." not in n]
    told = f"numbers outside the attention are gone, in {len(outside)} tensors, {outside[:1]} among them: what was "
    expect(not outside, f"{told}learned there must stay. Which part of the model holds the attention alone?")
    others = [n for n in changed if any(part in n for part in (".norm.", ".group.", "scale", "table"))]
    expect(not others, f"{others[:2]} belong to no linear layer or convolution, and so they stay (as norms do).")


def _why(attempt: Callable, layers: dict[str, nn.Module], left: list[str]) -> str:
    """What the layers that are `left` as they were have in common: a kind, their depth, or what comes before them."""
    used = {node.attr for f in functions(attempt) for node in ast.walk(f) if isinstance(node, ast.Attribute)}
    names, kinds = list(layers), {type(layers[name]) for name in left}
    if used & {"clone", "deepcopy", "copy"}:
        return "you fill a copy; work on the weights of the model itself."
    if "children" in used or all("inner" in name for name in left):
        return "they sit deeper than you look. Children are the outermost modules alone."
    if left == names:
        return reading(attempt) or "work on the model in place. A loop over model.attention itself runs over names."
    if left == [name for name in names if type(layers[name]) in kinds]:
        return "so are all of their kind. Name the three kinds in a tuple (A or B is just A)."
    if left == names[-len(left) :]:
        return f"so are all layers after {names[-len(left) - 1]}. Does a return end your loop there?"
    return "visit every layer in model.attention."
