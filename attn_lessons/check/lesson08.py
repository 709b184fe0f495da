"""Exercises of lesson 08: VGG from its list of numbers, attention that moves no name, and a start for nothing else."""

import ast
import copy
from collections.abc import Callable

import torch
from torch import nn

from ..models import VGG
from . import core, probes
from .core import call, exercise, expect, guarded, kind
from .source import functions, reading
from .steps import Table, explain

TWINS = "two layers of equal size have the same weights (one layer twice, copies, a seed before each): draw new ones."
TOLD = {  # what torch says → what it means here
    "is not a Module subclass": "A row holds layers: a class needs brackets, nn.ReLU(), and a list a star, *layers.",
    "not all arguments converted": 'An "M" has come to a convolution: ask for it first.',
    "during iteration": "Go through list(…) of what you change.",
    "was given": "Each pooling has its own number of channels; a function made in a loop uses the last one.",
    "Boolean value of Tensor": "Whether there is a bias is another question than whether it is 0: ask for None.",
    "NoneType": "Some layers have no bias: theirs is None.",
    "fewer than 2 dimensions": "Norms, and every bias, have a single row of numbers: Kaiming's is for other weights.",
    "leaf Variable": "Outside of training, write weights under torch.no_grad, as the functions of nn.init do.",
}


def own_weights(weights: list[nn.Parameter]) -> bool:
    pairs = [(a, b) for i, a in enumerate(weights) for b in weights[:i] if a.shape == b.shape]
    return not any(a is b or (a.dim() > 1 and core.same(a, b)) for a, b in pairs)


# --------------------------------------------------------------------------------------------------- exercise 1
KINDS = {nn.Conv2d: "a convolution", nn.ReLU: "a ReLU", nn.MaxPool2d: "a max pooling"}
SETTINGS = {  # of layers → what is right
    "out_channels": "the list says how many go out, and what comes stands before it",
    "in_channels": "what comes is what went out last (3 at first; a pooling changes nothing)",
    "kernel_size": "VGG's convolutions have windows of 3 × 3 everywhere, its poolings of 2 × 2",
    "stride": "convolutions take steps of 1, and poolings halve the maps with windows side by side",
    "padding": "a window of 3 keeps height and width with 1 on each side, a pooling has none",
    "dilation": "VGG's windows have no gaps",
    "groups": "in VGG every channel reads all that come",
    "padding_mode": "VGG has padding by zeros",
    "ceil_mode": "VGG leaves out the last row of an odd number",
}


def vgg(numbers: list) -> nn.Sequential:
    wide, layers = [3, *(n for n in numbers if n != "M")], []
    for n in numbers:
        layers += [nn.MaxPool2d(2)] if n == "M" else [nn.Conv2d(wide.pop(0), n, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)


def layers_of(row: nn.Sequential) -> list[nn.Module]:
    """All layers in order, each as often as it stands there, whatever rows they are wrapped in."""
    return [one for part in row for one in (layers_of(part) if isinstance(part, nn.Sequential) else [part])]


@exercise("from a list to layers, with torchvision's order, numbers and shapes: its weights fit.")
def check_vgg_features(attempt: Callable) -> None:
    """Check exercise 1 of lesson 08: a function ``vgg_features(numbers)`` that returns an nn.Sequential."""
    for numbers in ([6, "M", 9, 7, "M"], [5, 3, "M", 7, "M", 5, 5, 5, "M"], [6, 8]):
        given, handed, right = f"for the list {numbers}", list(numbers), vgg(numbers)
        rows = [guarded(attempt, handed, given=given[4:], hints=TOLD) for _ in range(2)]
        expect(handed == numbers, "your code changed the list it was given (with pop?): only read it.")
        for row in reversed(rows):
            expect(row is not None, "your code returned None: does its last line say return?")
            expect(isinstance(row, nn.Sequential), f"you return {kind(row)}: nn.Sequential(*layers) makes a row.")
        once = "a second call gives other layers than the first: a list made outside of the function, or as a default "
        expect(len({len(layers_of(row)) for row in rows}) == 1, f"{once}of an argument, keeps what was put in before.")
        _expect_layers(layers_of(row), list(right), given, attempt)
        have, want = list(row.state_dict()), list(right.state_dict())
        named = f"{given} the weights should be {want[0]!r} … {want[-2]!r}, by number in a single row; yours are "
        expect(have == want, f"{named}{have[0]!r} … {have[-2]!r}. Is a row inside the row, or do you name layers?")
        right.load_state_dict(row.state_dict())
        weights, x = [p for row in rows for p in row.state_dict(keep_vars=True).values()], torch.randn(3, 3, 17, 26)
        expect(own_weights(weights), TWINS)
        expect(all(p.requires_grad for p in weights), "some weights cannot learn: requires_grad is off.")
        expect(row.training, "your row comes in evaluation mode: leave the mode alone.")
        expect(core.same(call(row, x), right(x)), "right layers, but another result: did you change a forward?")
        probes.expect_same_gradient(row, right, x)


def _expect_layers(layers: list[nn.Module], right: list[nn.Module], given: str, attempt: Callable) -> None:
    for i, (mine, other) in enumerate(zip(layers, right, strict=False)):
        told = f"{given}, layer {i} should be {KINDS[type(other)]}; yours is {kind(mine)}. A number is a convolution "
        told += "and then its ReLU, an M is a max pooling, and there is nothing else."
        expect(isinstance(mine, type(other)), reading(attempt) or told)
    told = f"{given} you have {len(layers)} layers; two for a number and one for an M make {len(right)}."
    expect(len(layers) == len(right), reading(attempt) or told)
    for i, (mine, other) in enumerate(zip(layers, right, strict=True)):
        told = f"{given}, layer {i}, {KINDS[type(other)]}, has"
        for name, idea in SETTINGS.items():
            value, wanted = (getattr(layer, name, None) for layer in (mine, other))
            expect(value in (wanted, (wanted, wanted), "same"), f"{told} {name}={value}: {idea}.")
        expect(getattr(mine, "bias", 0) is not None, f"{told} no bias: VGG's do, and the weights come with them.")


# --------------------------------------------------------------------------------------------------- exercise 2
class Probe(nn.Module):
    """What is to be inserted: it can tell where it stands, since it grows and falls."""

    def __init__(self, channels: int):
        super().__init__()
        self.shift = nn.Parameter(2 * torch.randn(1, channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[1] != self.shift.shape[1]:
            raise RuntimeError(f"a module built for {self.shift.shape[1]} channels was given {x.shape[1]}")
        return torch.sin(3 * x + self.shift)


BLOCK: Table = {  # the end of a block, in place of p(m(r(c(x)))): x, convolution, ReLU, module, pooling → result
    "your modules stand after the poolings: they belong right before them.": lambda x, c, r, m, p: m(p(r(c(x)))),
    "your modules stand before the ReLU: they belong right before the pooling.": lambda x, c, r, m, p: p(r(m(c(x)))),
    "your modules are never called: the network gives what it gave without.": lambda x, c, r, m, p: p(r(c(x))),
    "each module is called twice: once is enough.": lambda x, c, r, m, p: p(m(m(r(c(x))))),
    "each module is called before and after its pooling: before is enough.": lambda x, c, r, m, p: m(p(m(r(c(x))))),
    "you add what comes to the module's result: hand on that alone.": lambda x, c, r, m, p: p(r(c(x)) + m(r(c(x)))),
    "you multiply by the module's result: hand on that alone.": lambda x, c, r, m, p: p(r(c(x)) * m(r(c(x)))),
    "your modules stand in place of the ReLUs: they follow them.": lambda x, c, r, m, p: p(m(c(x))),
    "your modules stand in place of the poolings: those must stay.": lambda x, c, r, m, p: m(r(c(x))),
    "there is a pooling before each module, too: one, after it.": lambda x, c, r, m, p: p(m(p(r(c(x))))),
    "an average stands in place of each pooling.": lambda x, c, r, m, p: nn.functional.avg_pool2d(m(r(c(x))), 2),
    "there are two poolings after each module: one is enough.": lambda x, c, r, m, p: p(p(m(r(c(x))))),
    "there is a ReLU after each module, too: the one before it is enough.": lambda x, c, r, m, p: p(r(m(r(c(x))))),
}  # fmt: skip


def inserted(x, row, modules, block=lambda x, c, r, m, p: p(m(r(c(x))))):
    """The result of a row with one of the modules before each of its poolings."""
    pools, start = [i for i, layer in enumerate(row) if isinstance(layer, nn.MaxPool2d)], 0
    for i, module in zip(pools, modules, strict=True):
        x, start = block(row[start : i - 2](x), row[i - 2], row[i - 1], module, row[i]), i + 1
    return row[start : len(row)](x)


@exercise("a module of its own before every pooling, and every weight still answers to its old name.")
def check_with_attention(attempt: Callable) -> None:
    """Check exercise 2 of lesson 08: a function ``with_attention(features, make)`` that returns a module."""
    for numbers in ([7, 5, "M", 6, 5, "M", 5, 5, "M", 9], [5, "M", 7, 6, "M", 3], [6, 8]):
        row, made, pools, x = vgg(numbers), [], numbers.count("M"), torch.randn(3, 3, 67, 70)
        row.load_state_dict({name: 2 * w for name, w in row.state_dict().items()})  # so that no module is near linear
        old = copy.deepcopy(row)

        def make(channels, made=made):
            made.append(Probe(channels))
            return made[-1]

        result = guarded(attempt, row, make, given=f"features with {pools} poolings, and make", hints=TOLD)
        expect(result is not None, "your code returned None: return the network, also where you changed it in place.")
        expect(isinstance(result, nn.Module), f"you return {kind(result)}: it should be a module.")
        expect(made or not pools, "make(channels) was never called: nothing was inserted.")
        _expect_same_names(result.state_dict(), old.state_dict())
        with core.shapes_inside(result, Probe) as (seen, _):
            out = call(result, x, hints=TOLD)
        called, inside = [module for module, _ in seen], [one for one in result.modules() if isinstance(one, Probe)]
        expect(len(made) == pools, f"you made {len(made)} module(s) for {pools} poolings: each gets one of its own.")
        told = f"result.modules() has {len(inside)} modules for {pools} poolings: a list, dict or lambda hides them "
        expect(len(inside) == pools, f"{told}from an optimizer. Or do you copy them, or forget to put them in?")
        told = (
            "some of your modules are never called. Do you count on in the loop? A function made there uses its last "
        )
        expect(len(set(called)) in (0, pools), f"{told}values, whenever it is called: hand it the module itself.")
        expect(own_weights([one.shift for one in inside]), TWINS)
        given = (x, old, list(dict.fromkeys([*called, *inside])))
        otherwise = "names and modules are right, but the result is not: every layer once, in the old order, and each "
        otherwise += "module once, between the last ReLU of a block and its pooling."
        leaves = {type(one) for one in result.modules() if not list(one.children())} - {*KINDS, Probe}
        otherwise += "".join(f" There is {one.__name__}, too." for one in leaves if hasattr(nn, one.__name__))
        explain(out, inserted, given, {"block": BLOCK}, otherwise, attempt)
        probes.expect_no_chance(result, x, out)
        (out if out.requires_grad else torch.zeros((), requires_grad=True)).square().sum().backward()
        learns = all(p.grad is not None and p.grad.abs().sum() > 0 for p in result.parameters())
        expect(learns, "no gradient reaches some of the weights: did you use no_grad, detach or requires_grad?")
        probes.expect_same_gradient(result, lambda x, given=given: inserted(x, *given[1:]), x)
        training = all(part.training for part in result.modules())
        expect(training, "the network, or part of it, is in evaluation mode afterwards: leave the mode alone.")
        double = call(result.double(), x.double()).dtype == torch.float64
        expect(double, "with weights and images of type float64 the result has another: leave the type alone.")


def _expect_same_names(state: dict[str, torch.Tensor], before: dict[str, torch.Tensor]) -> None:
    longer = [other for name in before for other in state if name not in state and other.endswith("." + name)]
    told = f"{next(iter(before))!r} is now called {longer[:1]}: all names got longer, since the old row sits inside "
    told += "another module, and no weight finds its place. Change the row itself, or let your class inherit from it."
    expect(len(longer) < len(before), told)
    for name, old in before.items():
        deeper = [one for one in state if one.startswith(name.partition(".")[0] + ".") and one.count(".") > 1]
        told = f"the convolution {name!r} now sits in a row of its own, with {deeper[:2]}: leave layers with weights "
        expect(name in state or not deeper, f"{told}alone, and put the module beside a layer without.")
        new = state.get(name, torch.empty(0))
        told = f"{name!r} is no longer the name of its convolution: what comes after a new layer moved on by one number"
        own = "How can a module come in without a number of its own in the row?"
        expect(new.shape == old.shape, f"{told}. {own}")
        expect(core.same(new, old), f"{name!r} has new weights, or another layer's: keep every layer and its number.")


# --------------------------------------------------------------------------------------------------- exercise 3
class Mixed(nn.Identity):
    """One layer of each kind that a mechanism may have."""

    def __init__(self, channels: int):
        super().__init__()
        self.line = nn.Linear(channels, 4 * channels)
        self.window = nn.Conv2d(channels, 32, 3)
        self.along = nn.Conv1d(8, 256, 5, bias=False)
        self.inner = nn.Sequential(nn.ReLU(), nn.Sequential(nn.Linear(channels, 3 * channels)))
        self.norm, self.group = nn.BatchNorm2d(channels), nn.GroupNorm(1, channels)
        self.table = nn.Parameter(torch.empty(channels, 5))


def normal(sd: Callable[[torch.Tensor], float]) -> Callable:
    return lambda w: torch.randn_like(w) * sd(w)


kaiming = normal(lambda w: (2 / w[0].numel()) ** 0.5)
FILL: Table = {  # a weight → the numbers that it is filled with, in place of kaiming(w)
    "your weights are uniform; Kaiming's normal distribution is meant.": lambda w: nn.init.kaiming_uniform_(w),
    "that is PyTorch's own start (reset_parameters), not Kaiming's.": lambda w: nn.init.kaiming_uniform_(w, 5**0.5),
    "that is PyTorch's own size (a=√5), smaller than Kaiming's.": normal(lambda w: (3 * w[0].numel()) ** -0.5),
    "that is Xavier's size, with the mean of fan-in and fan-out: Kaiming's has fan-in.": nn.init.xavier_normal_,
    "that is Xavier's uniform distribution; Kaiming's normal one is meant.": nn.init.xavier_uniform_,
    "that is Kaiming's with fan_out: fan_in is meant.": lambda w: nn.init.kaiming_normal_(w, mode="fan_out"),
    "the 2 that makes up for the ReLU is missing (nonlinearity='relu').": normal(lambda w: w[0].numel() ** -0.5),
    "2 / fan-in is the variance: the standard deviation is its root.": normal(lambda w: 2 / w[0].numel()),
    "** 1/2 halves, since the power comes first: write ** 0.5 or a root.": normal(lambda w: 1 / w[0].numel()),
    "your fan-in counts channels alone: the window counts, too.": normal(lambda w: (2 / w.shape[1]) ** 0.5),
    "your weights have standard deviation 1, whatever the layer: it follows fan-in.": normal(lambda w: 1),
    "your weights have standard deviation 0.01, whatever the layer: it follows fan-in.": normal(lambda w: 0.01),
    "all weights of a layer are equal: then all its units would learn the same.": torch.ones_like,
    "all weights are zero: then nothing in there can start to learn.": torch.zeros_like,
    "no weight is negative: normal numbers have both signs.": lambda w: kaiming(w).abs(),
    "you add to the old weights: put new ones in their place.": lambda w: w + kaiming(w),
}  # fmt: skip


def alike(a: torch.Tensor, b: torch.Tensor) -> bool:
    size = [w.square().mean().sqrt() + 1e-9 for w in (a, b)]
    mean, tails = ([(w / s).pow(n).mean() for w, s in zip((a, b), size, strict=True)] for n in (1, 4))
    near = abs(mean[0] - mean[1]) < 0.06 and abs(tails[0] - tails[1]) < 0.3
    return bool(near and abs((size[0] / size[1]).log()) < 0.04)


@exercise("Kaiming's weights and zero biases inside the attention; every other number is what it was.")
def check_initialise_attention(attempt: Callable) -> None:
    """Check exercise 3 of lesson 08: a function ``initialise_attention(model)`` that works in place."""
    for start, blocks in (("own", (4, 5)), ("identity", (5,))):
        model = VGG(11, 5, batch_norm=True, head="cifar", width=1 / 8, attention=Mixed, blocks=blocks, start=start)
        model = model.eval() if start == "own" else model.double()
        for value in model.state_dict().values():
            value.copy_(2 + torch.rand(value.shape))
        params = list(model.parameters())
        for p in params:
            p.grad = torch.ones_like(p)
        old, mode = copy.deepcopy(model), model.training
        guarded(attempt, model, given="a VGG with attention", hints=TOLD)
        _expect_untouched(model.state_dict(), old.state_dict(), attempt)
        layers = {n: m for n, m in model.attention.named_modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d)}
        same = [n for n, one in layers.items() if torch.equal(one.weight, old.attention.get_submodule(n).weight)]
        deep = "it sits deeper than you look, in a row inside a module." if all("inner" in n for n in same) else ""
        expect(not same, f"the weights of {', '.join(same[:2])} are what they were: {deep or _why(attempt)}")
        for name, one in layers.items():
            told, wide = f"of a {type(one).__name__} ({name})", one.weight[0].numel()
            weight, before = one.weight.detach(), old.attention.get_submodule(name).weight.detach()
            right = alike(weight, kaiming(before))
            for idea, fill in FILL.items():
                expect(right or not alike(weight, fill(before.clone())), idea)
            sizes = f"standard deviation {weight.std():.3f}, normal numbers of √(2 / {wide}) = {(2 / wide) ** 0.5:.3f}"
            expect(right, f"the weights {told} with fan-in {wide} have {sizes} are wanted.")
            expect(one.bias is None or not one.bias.any(), f"the bias {told} is not zero: it should be.")
        expect(own_weights([one.weight for one in layers.values()]), TWINS)
        expect(model.training == mode, "the model is in another mode afterwards: leave training and evaluation alone.")
        kept = all(p.grad is not None and (p.grad == 1).all() for p in params) and all(p.requires_grad for p in params)
        expect(kept, "requires_grad or the gradient of some weights has changed: set numbers only.")


def _expect_untouched(after: dict[str, torch.Tensor], before: dict[str, torch.Tensor], attempt: Callable) -> None:
    expect(list(after) == list(before), "some weights have changed their names, or are gone: only fill them anew.")
    alien = [n for n in after if (after[n].dtype, after[n].shape) != (before[n].dtype, before[n].shape)]
    expect(not alien, f"{alien[:1]} has another type or shape than before: fill it with numbers of its own type.")
    changed = [name for name in after if not torch.equal(after[name], before[name])]
    expect(changed, f"nothing has changed: {_why(attempt)}")
    outside = [name for name in changed if ".attention." not in name]
    told = f"numbers outside the attention are gone, in {len(outside)} tensors, {outside[:1]} among them: what was "
    expect(not outside, f"{told}learned there must stay. Which part of the model holds the attention alone?")
    for name in changed:
        other = name.endswith(("scale", "table")) or ".norm." in name or ".group." in name
        expect(not other, f"{name!r} belongs to no linear layer or convolution, and so it stays (as norms do).")


def _why(attempt: Callable) -> str:
    used = {node.attr for f in functions(attempt) for node in ast.walk(f) if isinstance(node, ast.Attribute)}
    if used & {"clone", "deepcopy", "copy"}:
        return "you fill a copy; work on the weights of the model itself."
    if "children" in used:
        return "children are the outermost modules alone, and the layers sit deeper."
    return reading(attempt) or "work on the model in place (functions of nn.init end in _). Which layers do you visit?"
