"""Exercises of lesson 04: Efficient Channel Attention, and its adaptive kernel size."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from . import core
from .core import WrongIdea, call, exercise, expect, guarded, named_mistake, same, shape_of


# ------------------------------------------------------------------------------------------------ exercise 1
@exercise("squeeze, a small convolution along the channels, scale: your module is ECA, weight for weight.")
def check_eca(attempt: Callable) -> None:
    """Check exercise 1 of lesson 04: a class ``ECA(channels, kernel_size)`` that keeps (B, C, H, W)."""
    for channels, k, b, h, w in ((12, 5, 3, 5, 7), (8, 3, 2, 8, 8), (6, 7, 2, 1, 3)):
        module = core.build_module(attempt, channels, k, given=f"channels={channels}, kernel_size={k}")
        x = torch.rand(b, channels, h, w) + 0.5  # positive, so that gate = result / x is safe
        kernel = _one_kernel(module, channels, k)
        with torch.no_grad():  # far from 0 and different everywhere, so that each idea below leaves a trace
            kernel.copy_(torch.randn_like(kernel))
        result, weight = _run(module, x, k), kernel.detach().reshape(k)
        core.expect_scaled(result, x, "ECA weights channels, and keeps the shape.")
        stretched = [m for m in module.modules() if isinstance(m, nn.Conv1d) and m.dilation != (1,)]
        expect(not stretched, "your kernel skips channels (dilation): it hears the ones right beside its own.")
        right = x * _gate(x.mean((2, 3)), weight)
        named_mistake(result, right, _eca_mistakes(x, weight))
        position = "squeeze over both H and W first, so that the kernel slides along C numbers, not along positions."
        core.expect_channel_gates(module, x, result, position, "the squeezed x must go through the convolution.")
        expect(
            same(result, right),
            "one gate in (0, 1) per channel and image, as it should be, but computed by another formula than "
            "σ(conv(mean)): go through it step by step.",
        )
        core.expect_learning(module, x, "your kernel")
        core.expect_one_image(module, x)


def _logits(squeezed: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:  # (B, C), (k,) → (B, C)
    return F.conv1d(squeezed[:, None], weight[None, None], padding=len(weight) // 2)[:, 0]


def _gate(squeezed: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return _logits(squeezed, weight).sigmoid()[:, :, None, None]


def _one_kernel(module: nn.Module, channels: int, k: int) -> nn.Parameter:
    sizes = core.learned(module, "the convolution must be an attribute (self.conv = …) that can learn")
    learned = [p for p in module.parameters() if p.requires_grad]
    total = sum(p.numel() for p in learned)
    for size in sizes:
        _refuse_kernel(size, channels, k)
    expect(
        total != k + 1 and not (len(sizes) == 2 and (1,) in sizes),
        "your convolution has a bias, one parameter too many: ECA's has none. Say bias=False.",
    )
    expect(
        len(learned) == 1, f"ECA has a single kernel and nothing else to learn; your parameters have shapes {sizes}."
    )
    expect(
        total == k,
        f"with kernel_size={k} the kernel has {k} weights, whatever C is; yours has {total}. Does its size come from "
        "the argument?",
    )
    return learned[0]


def _refuse_kernel(size: tuple[int, ...], channels: int, k: int) -> None:
    """The kernels that people build instead, by their shape."""
    c = channels
    if len(size) == 4 and size[-1] > 1 and size[-2] > 1:
        raise WrongIdea(
            f"your kernel has shape {shape_of(*size)}: it slides over rows and columns. After the squeeze there is one "
            "line of C numbers, and the kernel slides along that."
        )
    alone = "a weight per channel: no channel hears its neighbours. ECA's kernel slides along the channels."
    ideas = {
        (c, 1, k): f"every channel has {k} weights of its own (groups=C, or C output channels). One kernel of {k} "
        "weights slides along the channels and serves them all: Conv1d(1, 1, …).",
        (c, c, k): f"Conv1d(C, C, …) takes the C numbers as its input channels, so each gate hears all of them, with "
        f"{c * c * k} weights. Let the convolution slide along them: how many input channels has a line of numbers?",
        (c, c): "a linear layer from C to C lets every channel hear every other one, at C² weights; ECA's kernel sees "
        f"{k} neighbours.",
        (1, c, k): f"a convolution with C input channels adds all of them up; a line of C numbers is *one* input "
        f"channel, and the kernel has {k} weights.",
        (c, 1, 1): alone,
        (c,): alone,
        (1, c, k, 1): "with C input channels the convolution adds all of them up; a line of C numbers is *one*.",
    }
    spellings = {size}
    if len(size) == 4:
        spellings |= {size[:3] if size[3] == 1 else size, (*size[:2], size[3]) if size[2] == 1 else size}
    for spelling in spellings:
        if spelling in ideas and (spelling != (c,) or c != k):
            raise WrongIdea(f"your kernel has shape {shape_of(*size)}: {ideas[spelling]}")


def _run(module: nn.Module, x: torch.Tensor, k: int) -> torch.Tensor:
    """``module(x)``; where it stops, what the convolution was given tells more than torch's message."""
    with core.shapes_inside(module, nn.Conv1d, nn.Conv2d) as (given, returned):
        try:
            return call(module, x)
        except WrongIdea as idea:
            if "your code stopped" in str(idea):
                _diagnose(str(idea), given[-1][1] if given else (), returned[-1] if returned else (), *x.shape[:2], k)
            raise


def _diagnose(text: str, given: tuple, returned: tuple, b: int, c: int, k: int) -> None:
    """`given` to the last convolution and `returned` by it; empty where it did not get so far."""
    few, told = c - k + 1, f"your convolution was given shape {shape_of(*given)}: "
    gates = returned[-1] if returned and returned[-1] > 1 else (returned[-2] if len(returned) > 2 else 0)
    if (returned and gates == few) or (not returned and f"({few})" in text and few > 1):
        raise WrongIdea(
            f"your convolution leaves {few} gates for {c} channels: without padding it loses k − 1 of them. How many "
            "zeros belong at each end?"
        )
    if not given:
        return
    core.expect_all(
        (gates <= 1 or gates == c or given[-1] != c, f"your convolution makes {gates} gates for {c} channels: with a "
         f"stride of 1 and {k // 2} zeros at each end (k // 2), there are as many as channels."),
        (given[-1] != 1 or c not in given, told + "the channels stand where Conv1d expects its input channels. It "
         "slides along the *last* axis: (B, 1, C)."),
        (given not in ((b, c), (1, c)), told + "it takes (B, 1, C), a batch of lines with one input channel. Without "
         "the middle axis, it mistakes the images for input channels."),
        (len(given) != 4 or given[1] != c, told + "that is the feature map. Squeeze first, then slide along the "
         "channels."),
    )  # fmt: skip


def _eca_mistakes(x: torch.Tensor, weight: torch.Tensor) -> list[tuple[torch.Tensor, str]]:
    b, c, h, w = x.shape
    k, s = len(weight), x.mean((2, 3))
    logits, gate = _logits(s, weight)[:, :, None, None], _gate(s, weight)
    half, line = k // 2, s[:, None]

    def unpadded(padded):  # a line with something else than zeros at its ends
        return x * F.conv1d(padded, weight[None, None])[:, 0].sigmoid()[:, :, None, None]

    mistakes = [
        *core.gate_mistakes(x, logits),
        (x * _gate(x.amax((2, 3)), weight), "your squeeze takes the largest value; ECA takes the mean."),
        (x * _gate(x.sum((2, 3)), weight), "your squeeze adds up without dividing by H·W: take the mean."),
        (x * _gate(s.sigmoid(), weight), "a sigmoid stands before the convolution as well: only the one at the end."),
        (x * _logits(s.sigmoid(), weight)[:, :, None, None], "the sigmoid stands before the convolution: it belongs "
         "behind it, or gates are not in (0, 1)."),
        (x * _gate(s.relu().softmax(1), weight), "a softmax stands before the convolution: give it the plain means."),
        (x * gate.mean(1, keepdim=True), "all channels share one gate: do not average the gates over the channels."),
        (x * (_logits(s, weight) + _logits(x.amax((2, 3)), weight)).sigmoid()[:, :, None, None], "you added the "
         "maxima, as CBAM does: ECA squeezes by the mean alone."),
        (x * _gate(s, weight.softmax(0)), "your kernel goes through a softmax first: use its weights as they are."),
        (x * _gate(s - s.mean(1, keepdim=True), weight), "you took the mean over the channels away first: give the "
         "kernel the plain means."),
        (s[:, :, None, None] * gate.expand_as(x), "you scaled the squeezed numbers: the gates weight x itself."),
        (x * _gate(s.mean(0, keepdim=True), weight), "you averaged over the batch: each image has gates of its own."),
        (x * _gate(s.reshape(1, b * c), weight).view(b, c, 1, 1), "your convolution runs on from one image into the "
         "next: the batch was flattened into one line. Keep it apart: (B, 1, C)."),
        (x * _gate(x.reshape(b, h * w, c).mean(1), weight), "reshape read the numbers in another order, so channels "
         "got mixed: average over the dimensions H and W themselves."),
        (x * _gate(s.T, weight).view(c, b).T[:, :, None, None], "your convolution slides along the images of the "
         "batch: the channels must be the last axis it is given, (B, 1, C)."),
        (x * _gate(s.flip(1), weight).flip(1), "your kernel is mirrored: its first weight belongs to the channel "
         "before, as conv1d does it."),
        (x * (weight[half] * s).sigmoid()[:, :, None, None], "only the middle weight of your kernel is used, so no "
         "channel hears its neighbours: along which axis does it slide? Conv1d slides along the last one."),
    ]  # fmt: skip
    for mode, name in (
        ("circular", "wraps round, from the last channel to the first"),
        ("replicate", "repeats the channels at the ends"),
        ("reflect", "mirrors the ends"),
    ):
        if half < c:
            idea = f"your padding {name}; the paper's ECA pads with zeros."
            mistakes.append((unpadded(F.pad(line, (half, half), mode=mode)), idea))
    for shift in (d for d in range(-k, k + 1) if d):  # all padding at one end
        idea = f"each gate sits {abs(shift)} channels beside its own window: pad both ends alike."
        mistakes.append((unpadded(F.pad(line, (half + shift, half - shift))), idea))
    if c == h == w:  # where all sizes are equal, a gate on the wrong axis has the right shape
        to_shape = {"rows": (b, 1, h, 1), "columns": (b, 1, 1, w)}
        for name, shape in to_shape.items():
            mistakes.append((x * gate.view(shape), f"your gates weight the {name}: give them the shape (B, C, 1, 1)."))
        for axes, name in (((1, 3), "channels and columns"), ((1, 2), "channels and rows")):
            for shape in ((b, c, 1, 1), *to_shape.values()):
                wrong = _gate(x.mean(axes), weight).view(shape)
                mistakes.append((x * wrong, f"you averaged over {name}: squeeze the positions, H and W."))
    return mistakes


# ------------------------------------------------------------------------------------------------ exercise 2
CASES = [(c, 2, 1) for c in (2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 256, 384, 512, 1024, 1280, 2048, 4096)]
CASES += [(64, 1, 1), (256, 1, 1), (256, 2, 3), (512, 3, 2), (100, 1, 0), (4096, 4, 1), (8, 1, 8)]


@exercise("the paper's kernel size, odd for every C.")
def check_adaptive_kernel(attempt: Callable) -> None:
    """Check exercise 2 of lesson 04: ``adaptive_kernel(channels, gamma=2, b=1) → int``."""
    answers = {}
    for c, gamma, b in CASES:
        options = {} if (gamma, b) == (2, 1) else {"gamma": gamma, "b": b}
        given = f"channels={c}" + "".join(f", {name}={value}" for name, value in options.items())
        result = guarded(attempt, c, given=given, **options)
        answers[c, gamma, b] = _whole(result, given)
    wrong = [case for case in CASES if answers[case] != _size(*case)]
    if not wrong:
        return
    values = list(answers.values())
    for formula, idea in MISTAKES:
        if values == [formula(*case) for case in CASES]:
            raise WrongIdea(idea)
    c, gamma, b = wrong[0]
    if all(answers[case] == _size(*case) for case in CASES if case[1:] == (2, 1)):
        raise WrongIdea(
            f"with gamma=2 and b=1 all is well, but not with gamma={gamma}, b={b}: does your formula use both "
            "arguments, each in its place?"
        )
    for case, size in answers.items():
        expect(size % 2, f"for channels={case[0]} you return {size}, which is even: a window needs a middle.")
    for case, size in answers.items():
        expect(size >= 1, f"for channels={case[0]} you return {size}: a kernel has at least one weight.")
    t = _t(c, gamma, b)
    near = " Look at how you get from t to an odd number." if abs(answers[c, gamma, b] - t) <= 2 else ""
    raise WrongIdea(
        f"for channels={c}, t = log₂({c})/{gamma} + {b}/{gamma} is {t:.2f}, and your answer {answers[c, gamma, b]} "
        f"does not fit the recipe.{near}"
    )


def _whole(result: object, given: str) -> int:
    expect(result is not None, "your code returned None: does its last line say return?")
    try:
        return operator.index(result)
    except TypeError:
        kind = "one whole number is wanted"
        if hasattr(result, "is_integer") or isinstance(result, torch.Tensor):
            kind = "a kernel size is a whole number, and Conv1d takes nothing but an int"
        raise WrongIdea(f"for {given} you return {result!r}: {kind}.") from None


def _size(c: int, gamma: int, b: int) -> int:
    return _up(_t(c, gamma, b))


def _t(c: int, gamma: int, b: int) -> float:
    return math.log2(c) / gamma + b / gamma


def _up(t: float) -> int:
    """Without its decimals, and one more where that is even."""
    return int(abs(t)) | 1


def _down(t: float) -> int:
    return int(t) - (1 - int(t) % 2)


def _nearest_down(t: float) -> int:
    """The nearest odd number; of two equally near ones, the lower."""
    return math.ceil(t / 2) * 2 - 1


NO_LOG = "the logarithm is missing: the size would grow with C itself."
LOG = "that is the natural logarithm (math.log, torch.log, np.log): the formula has the one to base 2."
LOG10 = "that is the logarithm to base 10: the formula has the one to base 2."
NO_B = "the term b / gamma is missing."
SWAPPED = "b and gamma have changed places: gamma divides, b is added."
WHOLE_B = "b is added whole: in the formula it is divided by gamma as well."
ROUND = "you round to the nearest whole number first: drop the decimals instead, and make it odd only then."
DOWN = "you make an even number odd by taking 1 away; the recipe adds 1."
EVEN = "some of your sizes are even: a window needs a middle. Where t without its decimals is even, take one more."
MISTAKES: list[tuple[Callable[[int, int, int], int], str]] = [
    (lambda c, g, b: _up(math.log(c) / g + b / g), LOG),
    (lambda c, g, b: _up(math.log10(c) / g + b / g), LOG10),
    (lambda c, g, b: _up(math.log2(c) / g), NO_B),
    (lambda c, g, b: _up(math.log2(c) / b + g / b) if b else 1, SWAPPED),
    (lambda c, g, b: _up(math.log2(c) / g + b), WHOLE_B),
    (lambda c, g, b: round(_t(c, g, b)) | 1, ROUND),
    (lambda c, g, b: int(_t(c, g, b) + 0.5) | 1, ROUND),
    (lambda c, g, b: math.ceil(_t(c, g, b)) | 1, "you round up first: drop the decimals instead."),
    (lambda c, g, b: _down(_t(c, g, b)), DOWN),
    (lambda c, g, b: (int(math.log2(c)) // g + b // g) | 1, "// drops the decimals of each part before they are "
     "added: divide with /, and drop decimals once."),
    (lambda c, g, b: _nearest_down(_t(c, g, b)), "halfway between two odd numbers you take the lower one; "
     "the recipe takes the upper one."),
    (lambda c, g, b: int(_t(c, g, b)), EVEN),
    (lambda c, g, b: round(_t(c, g, b)), EVEN),
    (lambda c, g, b: int(_t(c, g, b)) + 1, "you add 1 always: only an even number needs it."),
    (lambda c, g, b: int(_t(c, g, b)) // 2 * 2, "you turn it round: odd numbers are wanted, not even "
     "ones."),
    (lambda c, g, b: _up(math.sqrt(c) / g + b / g), "that is the square root of C: the formula has its logarithm."),
    (lambda c, g, b: _up(c / g + b / g), NO_LOG),
    (lambda c, g, b: _up(math.log2(c) * g + b), "you multiply by gamma: the formula divides by it."),
    (lambda c, g, b: _up(math.log2(c)), "you took the logarithm alone: gamma and b are missing."),
    (lambda c, g, b: int(math.log2(c) / g - b / g) | 1, "b / gamma is added, not taken away."),
    (lambda c, g, b: _up(math.log2(c + b) / g), "b belongs behind the logarithm, not into it."),
    (lambda c, g, b: _up(math.log2(c / g) + b / g), "gamma divides the logarithm, not C."),
    (lambda c, g, b: _up(math.log2(c) / 2 + 1 / 2), "your answers stay the same whatever gamma and b are: "
     "numbers typed in, or a table, do not use the arguments."),
    (lambda c, g, b: max(3, _size(c, g, b)), "for very few channels the formula gives 1, and you never return less "
     "than 3: leave out the lower limit."),
    (lambda c, g, b: 2 * round(_t(c, g, b) / 2) + 1, "you round half of t, and so overshoot: drop the decimals of t, "
     "and add 1 only to an even number."),
    (lambda c, g, b: _up(math.log2(c) / (g + b)), "gamma divides both terms: b is not added to gamma."),
    (lambda c, g, b: _up(math.log2(c / g + b / g)), "only C is in the logarithm; gamma divides it afterwards."),
    (lambda c, g, b: _up(math.log2(c) / g + b * g), "b is divided by gamma, not multiplied."),
    (lambda c, g, b: int(math.log(c) / g + b / g), LOG),
    (lambda c, g, b: round(math.log(c) / g + b / g) | 1, LOG),
    (lambda c, g, b: _up(math.log(c)), LOG),
    (lambda c, g, b: int(math.log10(c) / g + b / g), LOG10),
    (lambda c, g, b: (c // g) | 1, NO_LOG),
    (lambda c, g, b: 3, "you return 3 whatever C is: that is the popular fixed size, not the formula."),
    (lambda c, g, b: 5, "you return 5 whatever C is."),
]  # fmt: skip
