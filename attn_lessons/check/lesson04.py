"""Exercises of lesson 04: Efficient Channel Attention, and its adaptive kernel size."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from .core import WrongIdea, call, exercise, expect, guarded, named_mistake, same, shape_of


# ------------------------------------------------------------------------------------------------ exercise 1
@exercise("squeeze, a small convolution along the channels, scale: your module is ECA, weight for weight.")
def check_eca(attempt: Callable) -> None:
    """Check exercise 1 of lesson 04: a class ``ECA(channels, kernel_size)`` that keeps (B, C, H, W)."""
    expect(not isinstance(attempt, nn.Module), "this is a module already built; hand over the class itself.")
    for channels, k, b, h, w in ((12, 5, 3, 5, 7), (8, 3, 2, 8, 8), (6, 7, 2, 1, 3)):
        module = _build(attempt, channels, k)
        x = torch.rand(b, channels, h, w) + 0.5  # positive, so that gate = result / x is safe
        kernel = _one_kernel(module, channels, k)
        with torch.no_grad():  # far from 0 and different everywhere, so that each idea below leaves a trace
            kernel.copy_(torch.randn_like(kernel))
        result = _run(module, x, k)
        _check_kept_shape(result, x)
        weight = kernel.detach().reshape(k)
        stretched = [m for m in module.modules() if isinstance(m, nn.Conv1d) and m.dilation != (1,)]
        expect(not stretched, "your kernel skips channels (dilation): it hears the ones right beside its own.")
        _check_formula(result, x, weight)
        _check_gate(module, x, result)
        expect(
            same(result, x * _gate(x.mean((2, 3)), weight)),
            "one gate in (0, 1) per channel and picture, as it should be, but computed by another formula than "
            "σ(conv(mean)): go through it step by step.",
        )
        _check_gradient(module, x, k)
        _check_single_picture(module, x[:1])


def _logits(squeezed: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:  # (B, C), (k,) → (B, C)
    return F.conv1d(squeezed[:, None], weight[None, None], padding=len(weight) // 2)[:, 0]


def _gate(squeezed: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return _logits(squeezed, weight).sigmoid()[:, :, None, None]


def _build(attempt: Callable, channels: int, k: int) -> nn.Module:
    module = guarded(attempt, channels, k, given=f"channels={channels}, kernel_size={k}")
    expect(module is not None, "your class gave None: is it a function without return?")
    expect(
        isinstance(module, nn.Module),
        "your class must inherit from nn.Module (class MyECA(nn.Module), and super().__init__() first), or its kernel "
        "is not found.",
    )
    expect(
        type(module).forward is not nn.Module.forward,
        "your class has no forward method: is it spelled forward, and indented inside the class?",
    )
    return module


def _one_kernel(module: nn.Module, channels: int, k: int) -> nn.Parameter:
    learned = [p for p in module.parameters() if p.requires_grad]
    sizes = [tuple(p.shape) for p in learned]
    total = sum(p.numel() for p in learned)
    expect(
        learned,
        "your module has no parameters to learn: the convolution must be an attribute (self.conv = …), made in "
        "__init__; a plain list, or a fixed kernel, hides it.",
    )
    for size in sizes:
        _refuse_kernel(size, channels, k)
    expect(
        total != k + 1 and not (len(sizes) == 2 and (1,) in sizes),
        "your convolution has a bias, one parameter too many: ECA's has none. Say bias=False.",
    )
    expect(
        len(learned) == 1,
        f"ECA has a single kernel and nothing else to learn; your parameters have shapes {sizes}.",
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
    ideas = {
        (c, 1, k): f"every channel has {k} weights of its own (groups=C, or C output channels). One kernel of {k} "
        "weights slides along the channels and serves them all: Conv1d(1, 1, …).",
        (c, c, k): f"Conv1d(C, C, …) takes the C numbers as its input channels, so each gate hears all of them, with "
        f"{c * c * k} weights. Let the convolution slide along them: how many input channels has a line of numbers?",
        (c, c): "a linear layer from C to C lets every channel hear every other one, at C² weights; ECA's kernel sees "
        f"{k} neighbours.",
        (1, c, k): f"a convolution with C input channels adds all of them up; a line of C numbers is *one* input "
        f"channel, and the kernel has {k} weights.",
        (c, 1, 1): "a weight per channel: no channel hears its neighbours. ECA's kernel slides along the channels.",
        (c,): "a weight per channel: no channel hears its neighbours. ECA's kernel slides along the channels.",
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
    given, returned = [], []

    def before(_module: nn.Module, inputs: tuple) -> None:
        given.append(tuple(inputs[0].shape))

    def after(_module: nn.Module, _inputs: tuple, output: torch.Tensor) -> None:
        returned.append(tuple(output.shape))

    convolutions = [part for part in module.modules() if isinstance(part, nn.Conv1d | nn.Conv2d)]
    hooks = [part.register_forward_pre_hook(before) for part in convolutions]
    hooks += [part.register_forward_hook(after) for part in convolutions]
    try:
        return call(module, x)
    except WrongIdea as stopped:
        (b, c), text = x.shape[:2], str(stopped)
        if "your code stopped" in text:
            _diagnose(text, given[-1] if given else None, returned[-1] if returned else None, b, c, k)
        raise
    finally:
        for hook in hooks:
            hook.remove()


def _diagnose(text: str, given: tuple | None, returned: tuple | None, b: int, c: int, k: int) -> None:
    few = c - k + 1
    gates = returned[-1] if returned and returned[-1] > 1 else (returned[-2] if returned and len(returned) > 2 else 0)
    if (returned and gates == few) or (not returned and f"({few})" in text and few > 1):
        raise WrongIdea(
            f"your convolution leaves {few} gates for {c} channels: without padding it loses k − 1 of them. How many "
            "zeros belong at each end?"
        )
    if returned and gates > 1 and gates != c and given and given[-1] == c:
        raise WrongIdea(
            f"your convolution makes {gates} gates for {c} channels: with a stride of 1 and {k // 2} zeros at each "
            "end (k // 2), there are as many as channels."
        )
    if given and given[-1] == 1 and c in given:
        raise WrongIdea(
            f"your convolution was given shape {shape_of(*given)}: the channels stand where Conv1d expects its input "
            "channels. It slides along the *last* axis: (B, 1, C)."
        )
    if given and given in ((b, c), (1, c)):
        raise WrongIdea(
            f"your convolution was given shape {shape_of(*given)}: it takes (B, 1, C), a batch of lines with one "
            "input channel. Without the middle axis, it mistakes the pictures for input channels."
        )
    if given and len(given) == 4 and given[1] == c:
        raise WrongIdea(
            f"your convolution was given the feature map, {shape_of(*given)}: squeeze first, then slide along the "
            "channels."
        )


def _check_kept_shape(result: torch.Tensor, x: torch.Tensor) -> None:
    b, c = x.shape[:2]
    if result.shape[:2] == (b, c) and result.numel() == b * c and x.numel() != b * c:
        raise WrongIdea("you return one number per channel: multiply x itself by the gates.")
    expect(
        result.shape == x.shape,
        f"for x of shape {shape_of(*x.shape)} your result has shape {shape_of(*result.shape)}: ECA weights channels, "
        "and keeps the shape.",
    )


def _check_formula(result: torch.Tensor, x: torch.Tensor, weight: torch.Tensor) -> None:
    b, c, h, w = x.shape
    k, s = len(weight), x.mean((2, 3))
    logits, gate = _logits(s, weight)[:, :, None, None], _gate(s, weight)
    everything = _gate(s.reshape(1, b * c), weight).view(b, c, 1, 1)
    scrambled = x.reshape(b, h * w, c).mean(1)
    mistakes = [
        (x * logits, "there is no sigmoid at the end: your gates can be negative or larger than 1."),
        (gate.expand_as(x), "you return the gates themselves: multiply x by them."),
        (x + gate, "you added the gate to x: scaling multiplies."),
        (x + x * gate, "you added x once more (a residual): ECA scales x, so a gate near 0 silences a channel."),
        (x * logits.softmax(1), "your gates come from a softmax, so channels compete for a sum of 1; a sigmoid lets "
         "each open or close by itself."),
        (x * logits.tanh(), "your gates come from tanh and may be negative: a sigmoid keeps them in (0, 1)."),
        (x * logits.relu(), "your gates come from a ReLU and have no upper end: a sigmoid keeps them in (0, 1)."),
        (x * logits.relu().sigmoid(), "there is a ReLU before the sigmoid, so no gate can fall below one half: ECA has "
         "a convolution and a sigmoid, nothing between."),
        (x * F.hardsigmoid(logits), "that is the hard sigmoid; the paper's ECA has the smooth one."),
        (x * _gate(x.amax((2, 3)), weight), "your squeeze takes the largest value; ECA takes the mean."),
        (x * _gate(x.sum((2, 3)), weight), "your squeeze adds up without dividing by H·W: take the mean."),
        (x * _gate(s.sigmoid(), weight), "a sigmoid stands before the convolution as well: only the one at the end."),
        (x * _logits(s.sigmoid(), weight)[:, :, None, None], "the sigmoid stands before the convolution: it belongs "
         "behind it, or gates are not in (0, 1)."),
        (x * _gate(s.relu().softmax(1), weight), "a softmax stands before the convolution: give it the plain means."),
        (x * gate.sigmoid(), "the sigmoid is applied twice."),
        (x * gate * gate, "the gate is applied twice."),
        (x * gate.mean(1, keepdim=True), "all channels share one gate: do not average the gates over the channels."),
        (x * (_logits(s, weight) + _logits(x.amax((2, 3)), weight)).sigmoid()[:, :, None, None], "you added the "
         "maxima, as CBAM does: ECA squeezes by the mean alone."),
        (x * _gate(s, weight.softmax(0)), "your kernel goes through a softmax first: use its weights as they are."),
        (x * _gate(s - s.mean(1, keepdim=True), weight), "you took the mean over the channels away first: give the "
         "kernel the plain means."),
        (x * (1 - gate), "open and closed are turned round: multiply by the gate, not by 1 − gate."),
        (s[:, :, None, None] * gate.expand_as(x), "you scaled the squeezed numbers: the gates weight x itself."),
        (x * _gate(s.mean(0, keepdim=True), weight), "you averaged over the batch: each picture has gates of its own."),
        (x * gate[:1], "every picture got the gates of the first one: each has gates of its own."),
        (x * everything, "your convolution runs on from one picture into the next: the batch was flattened into one "
         "line. Keep it apart: (B, 1, C)."),
        (x * _gate(scrambled, weight), "reshape read the numbers in another order, so channels got mixed: average "
         "over the dimensions H and W themselves."),
        (x * _gate(s.T, weight).view(c, b).T[:, :, None, None], "your convolution slides along the pictures of the "
         "batch: the channels must be the last axis it is given, (B, 1, C)."),
        (x * _gate(s.flip(1), weight).flip(1), "your kernel is mirrored: its first weight belongs to the channel "
         "before, as conv1d does it."),
        (x * (weight[k // 2] * s).sigmoid()[:, :, None, None], "only the middle weight of your kernel is used, so no "
         "channel hears its neighbours: along which axis does it slide? Conv1d slides along the last one."),
    ]  # fmt: skip
    for mode, name in (("circular", "wraps round, from the last channel to the first"),
                       ("replicate", "repeats the channels at the ends"), ("reflect", "mirrors the ends")):  # fmt: skip
        if k // 2 < c:
            padded = F.pad(s[:, None], (k // 2, k // 2), mode=mode)
            wrong = F.conv1d(padded, weight[None, None])[:, 0].sigmoid()[:, :, None, None]
            mistakes.append((x * wrong, f"your padding {name}; the paper's ECA pads with zeros."))
    for shift in {d for d in range(-k, k + 1) if d}:  # all padding at one end
        moved = F.pad(s[:, None], (k // 2 + shift, k // 2 - shift))
        wrong = F.conv1d(moved, weight[None, None])[:, 0].sigmoid()[:, :, None, None]
        mistakes.append(
            (x * wrong, f"each gate sits {abs(shift)} channels beside its own window: pad both ends alike.")
        )
    if c == h == w:  # where all sizes are equal, a gate on the wrong axis has the right shape
        flat = gate.flatten(1)
        wrong_axes = (("rows", flat[:, None, :, None]), ("columns", flat[:, None, None, :]))
        for name, wrong in wrong_axes:
            mistakes.append((x * wrong, f"your gates weight the {name}: give them the shape (B, C, 1, 1)."))
        for axes, name in (((1, 3), "channels and columns"), ((1, 2), "channels and rows")):
            for view in ((slice(None), slice(None), None, None), (slice(None), None, slice(None), None),
                         (slice(None), None, None, slice(None))):  # fmt: skip
                wrong = _gate(x.mean(axes), weight).flatten(1)[view]
                mistakes.append((x * wrong, f"you averaged over {name}: squeeze the places, H and W."))
    named_mistake(result, x * gate, mistakes)


def _check_gate(module: nn.Module, x: torch.Tensor, result: torch.Tensor) -> None:
    gate = result / x
    if x[0, 0].numel() > 1:
        expect(
            torch.allclose(gate, gate.mean((2, 3), keepdim=True).expand_as(gate), atol=1e-4),
            "within one channel your gate differs from place to place: squeeze over both H and W first, so that the "
            "kernel slides along C numbers, not along places.",
        )
    expect(
        (gate > -1e-6).all() and (gate < 1 + 1e-6).all(),
        "some of your gates lie outside (0, 1): which function squashes any number into that range?",
    )
    others = torch.cat([x[:1], x[1:].flip(1)])  # the same first picture among other pictures
    expect(
        torch.allclose(call(module, others)[:1], result[:1], atol=1e-4),
        "the result for a picture changes with the other pictures in its batch: compute over (H, W) only, no batch "
        "statistics, and no line that runs through several pictures.",
    )
    other = call(module, x.flip(1))
    expect(
        not torch.allclose(other / x.flip(1), gate, atol=1e-4),
        "your gates do not depend on the picture: the squeezed x must go through the convolution.",
    )


def _check_gradient(module: nn.Module, x: torch.Tensor, k: int) -> None:
    module.zero_grad()
    x = x.clone().requires_grad_()
    result = call(module, x)
    expect(result.requires_grad, "no gradient gets through your module: did you use no_grad, detach or .data?")
    result.square().sum().backward()
    reached = all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())
    expect(reached, "no gradient reaches your kernel, so the gates never learn: did you detach the gate?")
    through_gate = call(module, x.detach().mean((2, 3), keepdim=True).expand_as(x).clone().requires_grad_())
    expect(through_gate.requires_grad, "no gradient gets through your module.")


def _check_single_picture(module: nn.Module, x: torch.Tensor) -> None:
    try:
        kept = module(x).shape == x.shape
    except Exception:
        kept = False
    expect(
        kept,
        "with a batch of one picture your module fails: squeeze() takes every axis of size 1, the batch axis too; "
        "mean((2, 3)) keeps it.",
    )


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
    even = [case for case in CASES if answers[case] % 2 == 0]
    if even:
        case = even[0]
        raise WrongIdea(f"for channels={case[0]} you return {answers[case]}, which is even: a window needs a middle.")
    small = [case for case in CASES if answers[case] < 1]
    expect(
        not small, f"for channels={small and small[0][0]} you return a size below 1: a kernel has at least one weight."
    )
    t = math.log2(c) / gamma + b / gamma
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
    return _up(math.log2(c) / gamma + b / gamma)


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
    (lambda c, g, b: round(math.log2(c) / g + b / g) | 1, ROUND),
    (lambda c, g, b: int(math.log2(c) / g + b / g + 0.5) | 1, ROUND),
    (lambda c, g, b: math.ceil(math.log2(c) / g + b / g) | 1, "you round up first: drop the decimals instead."),
    (lambda c, g, b: _down(math.log2(c) / g + b / g), DOWN),
    (lambda c, g, b: (int(math.log2(c)) // g + b // g) | 1, "// drops the decimals of each part before they are "
     "added: divide with /, and drop decimals once."),
    (lambda c, g, b: _nearest_down(_t(c, g, b)), "halfway between two odd numbers you take the lower one; "
     "the recipe takes the upper one."),
    (lambda c, g, b: int(math.log2(c) / g + b / g), EVEN),
    (lambda c, g, b: round(math.log2(c) / g + b / g), EVEN),
    (lambda c, g, b: int(math.log2(c) / g + b / g) + 1, "you add 1 always: only an even number needs it."),
    (lambda c, g, b: int(math.log2(c) / g + b / g) // 2 * 2, "you turn it round: odd numbers are wanted, not even "
     "ones."),
    (lambda c, g, b: _up(math.sqrt(c) / g + b / g), "that is the square root of C: the formula has its logarithm."),
    (lambda c, g, b: _up(c / g + b / g), "the logarithm is missing: the size would grow with C itself."),
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
    (lambda c, g, b: (c // g) | 1, "the logarithm is missing: the size would grow with C itself."),
    (lambda c, g, b: 3, "you return 3 whatever C is: that is the popular fixed size, not the formula."),
    (lambda c, g, b: 5, "you return 5 whatever C is."),
]  # fmt: skip
