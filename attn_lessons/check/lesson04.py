"""Exercises of lesson 04: Efficient Channel Attention, and its adaptive kernel size."""

import math
import operator
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from . import core, probes
from .core import WrongIdea, call, exercise, expect, guarded, shape_of
from .steps import GATE, SCALE, SQUEEZE, Table, explain, other_axes


# ------------------------------------------------------------------------------------------------ exercise 1
def line(pad: Callable[[int], tuple[int, int]], mode: str = "constant") -> Callable:
    """A convolution along the channels whose ends are padded by ``pad(k // 2)``."""
    return lambda s, w: F.conv1d(F.pad(s[:, None], pad(len(w) // 2), mode=mode), w[None, None])[:, 0]


zeros = line(lambda half: (half, half))
SLIDE: Table = {  # (B, C), (k,) → (B, C), in place of zeros(s, weight)
    "only the middle weight of your kernel is used: along which axis does it slide? Conv1d slides along the last one.":
        lambda s, w: w[len(w) // 2] * s,
    "your kernel is mirrored: its first weight belongs to the channel before, as in conv1d.":
        lambda s, w: zeros(s, w.flip(0)),
    "your kernel goes through a softmax first: use its weights as they are.": lambda s, w: zeros(s, w.softmax(0)),
    "a sigmoid stands before the convolution as well: only the one at the end.": lambda s, w: zeros(s.sigmoid(), w),
    "a softmax stands before the convolution: give it the plain means.": lambda s, w: zeros(s.softmax(1), w),
    "a ReLU stands before the convolution: give it the plain means.": lambda s, w: zeros(s.relu(), w),
    "your convolution slides along the images of the batch: the channels must be the last axis, (B, 1, C).":
        lambda s, w: zeros(s.T.contiguous(), w).T,
    "your convolution runs on from one image into the next: keep the batch apart, (B, 1, C).":
        lambda s, w: zeros(s.reshape(1, -1), w).view_as(s),
    "all channels share one gate: do not average over the channels.":
        lambda s, w: zeros(s, w).mean(1, True).expand_as(s),
    "you add the means to the convolution (a residual): leave them out.": lambda s, w: s + zeros(s, w),
    "the kernel runs over the means twice: once is enough.": lambda s, w: zeros(zeros(s, w), w),
    "your padding wraps round, from the last channel to the first; the paper's ECA pads with zeros.":
        line(lambda half: (half, half), "circular"),
    "your padding repeats the channels at the ends; the paper's ECA pads with zeros.":
        line(lambda half: (half, half), "replicate"),
    "your padding mirrors the ends; the paper's ECA pads with zeros.": line(lambda half: (half, half), "reflect"),
} | {
    f"each gate sits {abs(d)} channel(s) beside its own kernel position: pad both ends alike.":
        line(lambda half, d=d: (half + d, half - d))
    for d in (-1, 1, -2, 2, -3, 3)
}  # fmt: skip


def eca(x, weight, squeeze=lambda x: x.mean((2, 3)), slide=zeros, gate=torch.sigmoid, scale=torch.mul):
    return scale(x, gate(slide(squeeze(x), weight))[:, :, None, None])


@exercise("squeeze, a small convolution along the channels, scale: your module is ECA, weight for weight.")
def check_eca(attempt: Callable) -> None:
    """Check exercise 1 of lesson 04: a class ``ECA(channels, kernel_size)`` that keeps (B, C, H, W)."""
    for channels, k, b, h, w in ((15, 7, 3, 5, 8), (9, 3, 5, 9, 9), (9, 5, 3, 1, 7)):
        module = core.build_module(attempt, channels, k, given=f"channels={channels}, kernel_size={k}")
        x = probes.away_from_zero(b, channels, h, w)
        kernel = _one_kernel(module, channels, k)
        with torch.no_grad():  # different everywhere, so that each idea below leaves a trace
            kernel.copy_(torch.randn_like(kernel))
        result, weight = _run(module, x, k), kernel.detach().reshape(k).clone()
        probes.expect_scaled(result, x, "ECA weights channels, and keeps the shape.")
        stretched = [m for m in module.modules() if isinstance(m, nn.Conv1d) and m.dilation != (1,)]
        expect(not stretched, "your kernel skips channels (dilation): it reads the ones right beside its own.")

        def properties(module=module, x=x, result=result):
            position = "squeeze over both H and W first, so that the kernel slides along C numbers, not positions."
            probes.expect_channel_gates(module, x, result, position, "the squeezed x must go through the convolution.")

        tables = {"squeeze": SQUEEZE | other_axes(x), "slide": SLIDE, "gate": GATE, "scale": SCALE | wrong_axis(x)}
        formula = "your gates come from another formula than σ(conv(mean)): go through it step by step."
        explain(result, eca, (x, weight), tables, formula, attempt, properties)
        properties()
        probes.expect_learning(module, x, "your kernel")
        probes.expect_same_gradient(module, lambda x, weight=weight: eca(x, weight), x)
        probes.expect_one_image(module, x)


def wrong_axis(x: torch.Tensor) -> Table:
    """Where all sizes are equal, a gate on the wrong axis has the right shape."""
    if len(set(x.shape[1:])) > 1:
        return {}
    return {
        "your gates weight the rows: give them the shape (B, C, 1, 1).": lambda x, g: x * g.transpose(1, 2),
        "your gates weight the columns: give them the shape (B, C, 1, 1).": lambda x, g: x * g.transpose(1, 3),
    }


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
    *((lambda c, g, b, k=k: k, f"you return {k} whatever C is: a fixed size, not the formula.") for k in (3, 5)),
]  # fmt: skip
