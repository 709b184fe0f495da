"""Exercises of lesson 04: Efficient Channel Attention, and its adaptive kernel size."""

import math
import operator
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from . import core, probes
from .core import exercise, expect, expect_all, guarded, shape_of
from .steps import explain
from .steps_eca import ECA, ECA_VALUES, SIZE, eca, recipe, size_of


# ------------------------------------------------------------------------------------------------ exercise 1
@exercise("squeeze, a small convolution along the channels, scale: your module is ECA, weight for weight.")
def check_eca(attempt: Callable) -> None:
    """Check exercise 1 of lesson 04: a class ``ECA(channels, kernel_size)`` that keeps (B, C, H, W)."""
    for c, k, b, h, w in ((9, 3, 2, 5, 9), (15, 7, 3, 5, 8), (9, 5, 3, 1, 7)):  # wrong axes fit only where W = C
        module = core.build_module(attempt, c, k, given=f"channels={c}, kernel_size={k}")
        x = probes.away_from_zero(b, c, h, w)
        kernel = find_kernel(module, c, k)
        with torch.no_grad():  # different everywhere, so that each idea below leaves a trace
            kernel.copy_(2 * torch.randn_like(kernel))
        result, weight = run(module, x, k), kernel.detach().reshape(k).clone()
        probes.expect_scaled(result, x, "ECA weights channels, and keeps the shape.")

        def properties(module=module, x=x, result=result):
            position = "squeeze over both H and W first, so that the kernel slides along C numbers, not positions."
            probes.expect_channel_gates(module, x, result, position, "the squeezed x must go through the convolution.")

        formula = "your gates come from another formula than σ(conv(mean)): go through it step by step."
        outside = partial(probes.expect_gates, result / x)
        explain(result, eca, (x, weight), ECA, formula, attempt, properties, ECA_VALUES, last=outside)
        properties()
        probes.expect_faithful(module, eca, x, weight, what="your kernel")


KERNELS = {  # that people build instead, by their shape
    "C1K CK": "every channel has k weights of its own (groups=C, or C output channels). One kernel of k weights "
    "slides along the channels and serves them all.",
    "CCK": "Conv1d(C, C, …) takes the C numbers as its input channels, so each gate reads all of them, with C² · k "
    "weights. Let the convolution slide along them: how many input channels has a line of numbers?",
    "CC": "each gate reads every channel, at C² weights; ECA's kernel reads k neighbours.",
    "1CK": "with C input channels the convolution adds all of them up; a line of C numbers is *one* input channel.",
    "C C1 1C": "a weight per channel: no gate reads the neighbours. ECA's kernel slides along the channels.",
}
WINDOW = (
    "it slides over rows and columns. After the squeeze there is one line of C numbers, and the kernel slides along it."
)


def find_kernel(module: nn.Module, c: int, k: int) -> nn.Parameter:
    sizes = core.learned(module, "the kernel must be an attribute that can learn (self.conv = …, or an nn.Parameter)")
    ideas = probes.by_letter(KERNELS, C=c, K=k)
    for size in sizes:
        short = (*size[:2], *(n for n in size[2:] if n > 1))
        idea = WINDOW if len(short) == 4 else ideas.get(short)
        expect(not idea, f"your kernel has shape {shape_of(*size)}: {idea}")
    learned = [p for p in module.parameters() if p.requires_grad]
    total = sum(p.numel() for p in learned)
    expect_all(
        (total != k + 1 and not (len(sizes) == 2 and (1,) in sizes), "your convolution has a bias, one parameter too "
         "many: ECA's has none. Say bias=False."),
        (len(learned) == 1, f"ECA has a single kernel and nothing else to learn; your parameters have shapes {sizes}."),
        (total == k, f"with kernel_size={k} the kernel has {k} weights, whatever C is; yours has {total}. Does its "
         "size come from the argument?"),
    )  # fmt: skip
    return learned[0]


GIVEN = {  # the convolution, where it stops
    "BC1 BC11 1C1": "the channels stand where Conv1d expects its input channels. It slides along the *last* axis: "
    "(B, 1, C).",
    "BC 1C 1BC": "it takes (B, 1, C), a batch of lines with one input channel. Here it mistakes the images for input "
    "channels.",
    "B1H B1P B1Q": "that is no line of C numbers. Squeeze over both H and W, dimensions 2 and 3.",
    "BCHW": "that is the feature map. Squeeze first, then slide along the channels.",
}


def run(module: nn.Module, x: torch.Tensor, k: int) -> torch.Tensor:
    b, c, h, w = x.shape
    ideas, few = probes.by_letter(GIVEN, B=b, C=c, H=h, W=w, P=c * h, Q=c * w), c - k + 1
    lost = f"{few} gates for {c} channels: without padding it loses k − 1 of them. How many zeros belong at each end?"

    def told(given: tuple[int, ...], returned: tuple[int, ...]) -> str:
        if given in ideas or not returned:
            return f": {ideas[given]}" if given in ideas else ""
        gates = next((n for n in reversed(returned[1:]) if n > 1), c)
        other = f"{gates} gates for {c} channels: a stride of 1 and k // 2 zeros at each end keep their number."
        return "" if gates == c else f" and leaves {lost if gates == few else other}"

    return probes.call_convolution(module, x, told, hints={f"({few})": f"Your convolution leaves {lost}"})


# ------------------------------------------------------------------------------------------------ exercise 2
CASES = [(c, 2, 1) for c in (2, 4, 7, 8, 16, 24, 32, 64, 96, 127, 128, 256, 384, 512, 1024, 2047, 2048, 4096, 40000)]
CASES += [(c, *other) for c in (3, 20, 90, 256, 700) for other in ((1, 1), (2, 3), (3, 2), (1, 4), (4, 1), (3, 7))]


@exercise("the paper's kernel size, odd for every C.")
def check_adaptive_kernel(attempt: Callable) -> None:
    """Check exercise 2 of lesson 04: ``adaptive_kernel(channels, gamma=2, b=1) → int``."""
    answers = {}
    for c, gamma, b in CASES:
        options = {} if (gamma, b) == (2, 1) else {"gamma": gamma, "b": b}
        given = ", ".join(f"{name}={value}" for name, value in {"channels": c, **options}.items())
        answers[c, gamma, b] = whole_number(guarded(attempt, c, given=given, **options), given)
    c, gamma, b = next((case for case in CASES if answers[case] != size_of(*case)), CASES[0])

    def fixed():
        expect(len(set(answers.values())) > 1, f"you return {answers[c, gamma, b]} whatever C is: a fixed size.")

    def last():
        expect(
            (gamma, b) == (2, 1),
            f"with gamma=2 and b=1 all is well, but not with gamma={gamma}, b={b}: does your formula use both "
            "arguments, each where it belongs?",
        )
        for case, size in answers.items():
            expect(size % 2, f"for channels={case[0]} you return {size}, which is even: a window needs a middle.")

    t, yours = math.log2(c) / gamma + b / gamma, answers[c, gamma, b]
    otherwise = f"for channels={c}, t = log₂({c})/{gamma} + {b}/{gamma} is {t:.2f}; your {yours} does not fit it."
    explain(torch.tensor([*answers.values()]), recipe, (CASES,), SIZE, otherwise, attempt, fixed, last=last)


def whole_number(result: object, given: str) -> int:
    expect(result is not None, f"for {given} your code returned None: does every way through it end with a return?")
    decimals = isinstance(result, float | torch.Tensor)
    wanted = "a kernel size is a whole number, and Conv1d takes nothing but an int" if decimals else "an int is wanted"
    try:
        return operator.index(None if isinstance(result, bool) else result)
    except TypeError:
        raise core.WrongIdea(f"for {given} you return {result!r}: {wanted}.") from None
