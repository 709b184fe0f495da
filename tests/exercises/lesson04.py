"""Answers to the exercises of lesson 04; what the names mean is said in __init__.py."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from attn_lessons import check
from attn_lessons.check import lesson04


# --------------------------------------------------------------------------------------------------- exercise 1
class ECA(nn.Module):
    """The solution; the wrong answers below override one step of it each."""

    def __init__(self, channels, kernel_size):
        super().__init__()
        self.layers(channels, kernel_size)

    def layers(self, channels, k):
        self.conv = nn.Conv1d(1, 1, k, padding=k // 2, bias=False)

    def squeeze(self, x):
        return x.mean((2, 3))

    def gate(self, squeezed):
        return self.conv(squeezed[:, None])[:, 0].sigmoid()

    def forward(self, x):
        return x * self.gate(self.squeeze(x))[:, :, None, None]


def changed(**methods):
    return type("MyECA", (ECA,), methods)


def conv(make, **methods):
    """``make(channels, k)`` is another convolution."""
    return changed(layers=lambda m, c, k: setattr(m, "conv", make(c, k)), **methods)


def learns(shapes):
    """``shapes(channels, k)`` are those of all parameters."""

    def layers(self, channels, k):
        self.all = nn.ParameterList([torch.ones(shape) for shape in shapes(channels, k)])

    return changed(layers=layers)


def by_step(**steps):
    """The solution with wrong steps, from the check's own reference."""
    return changed(forward=lambda m, x: lesson04.eca(x, m.conv.weight[0, 0], **steps))


def on_a_point(self, squeezed):
    """The channels are the convolution's input channels."""
    return self.conv(squeezed[..., None])[..., 0].sigmoid()


def over_positions(self, x):
    return x * self.conv(x.flatten(2).flatten(0, 1)[:, None]).view_as(x).sigmoid()


def no_squeeze(self, x):
    lines = x.permute(0, 2, 3, 1)
    return x * self.conv(lines.reshape(-1, 1, x.shape[1])).view_as(lines).permute(0, 3, 1, 2).sigmoid()


def functional(self, squeezed):
    return F.conv1d(squeezed[:, None], self.conv.weight)[:, 0].sigmoid()


WRONG_ECAS = {  # beside those of the tables
    "no padding": (conv(lambda c, k: nn.Conv1d(1, 1, k, bias=False)), "without padding"),
    "no padding, functional": (changed(gate=functional), "without padding"),
    "padding 1": (conv(lambda c, k: nn.Conv1d(1, 1, k, padding=1, bias=False)), "zeros at each end"),
    "stride": (conv(lambda c, k: nn.Conv1d(1, 1, k, 2, k // 2, bias=False)), "stride of 1"),
    "bias": (conv(lambda c, k: nn.Conv1d(1, 1, k, padding=k // 2)), "bias=False"),
    "kernel size ignored": (conv(lambda c, k: nn.Conv1d(1, 1, 5, padding=2, bias=False)), "come from the argument"),
    "groups": (conv(lambda c, k: nn.Conv1d(c, c, k, padding=k // 2, groups=c), gate=on_a_point), "groups=C"),
    "C to C": (conv(lambda c, k: nn.Conv1d(c, c, k, padding=k // 2), gate=on_a_point), "slide along them"),
    "C to 1": (conv(lambda c, k: nn.Conv1d(c, 1, k, padding=k // 2)), "*one* input"),
    "1 to C": (conv(lambda c, k: nn.Conv1d(1, c, k, padding=k // 2)), "C output channels"),
    "2-D": (conv(lambda c, k: nn.Conv2d(1, 1, k, padding=k // 2)), "rows and columns"),
    "linear": (conv(lambda c, k: nn.Linear(c, c)), "C² weights"),
    "a weight per channel": (learns(lambda c, k: [(c,)]), "neighbours"),
    "SE's two layers": (learns(lambda c, k: [(2, c), (c, 2)]), "a single kernel"),
    "(B, C, 1)": (changed(gate=on_a_point), "slides along the *last* axis"),
    "(B, C)": (changed(gate=lambda m, s: m.conv(s).sigmoid()), "mistakes the images"),
    "(B, C, H, W)": (conv(lambda c, k: nn.Conv2d(1, 1, (k, 1), bias=False), forward=lambda m, x: m.conv(x)), "Squeeze"),
    "over positions": (changed(forward=over_positions), "from position to position"),
    "no squeeze": (changed(forward=no_squeeze), "from position to position"),
    "maxima added": (changed(squeeze=lambda m, x: x.mean((2, 3)) + x.amax((2, 3))), "as CBAM does"),
    "sigmoid too early": (by_step(squeeze=lambda x: x.mean((2, 3)).sigmoid(), gate=lambda v: v), "no sigmoid at"),
    "no parameter": (changed(layers=lambda m, c, k: setattr(m, "w", torch.ones(k))), "no parameters"),
    "one gate for all": (by_step(gate=lambda v: v.sigmoid().mean(1, True).expand_as(v)), "over the channels"),
}


class OfficialStyle(nn.Module):
    """Pool, squeeze and transpose, as the paper's code does it."""

    def __init__(self, channels, k_size):
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.conv = nn.Conv1d(1, 1, kernel_size=k_size, padding=(k_size - 1) // 2, bias=False)

    def forward(self, x):
        y = self.conv(self.avg_pool(x).squeeze(-1).transpose(-1, -2)).transpose(-1, -2).unsqueeze(-1)
        return x * y.sigmoid().expand_as(x)


class AsConv2d(ECA):
    """The channels are the height of an image, and the window is k × 1."""

    def layers(self, channels, k):
        self.conv = nn.Conv2d(1, 1, (k, 1), padding=(k // 2, 0), bias=False)

    def forward(self, x):
        return x * self.conv(x.mean((2, 3))[:, None, :, None]).transpose(1, 2).sigmoid()


class Windows(ECA):
    """Without any convolution: windows of a padded line, times a bare parameter."""

    def layers(self, channels, k):
        self.kernel = nn.Parameter(torch.zeros(1, k))

    def gate(self, squeezed):
        k = self.kernel.shape[1]
        return (F.pad(squeezed, (k // 2, k // 2)).unfold(1, k, 1) @ self.kernel[0]).sigmoid()


# --------------------------------------------------------------------------------------------------- exercise 2
def kernel_size(channels, gamma=2, b=1):
    t = int(math.log2(channels) / gamma + b / gamma)
    return t if t % 2 else t + 1


def sized(**steps):
    """The solution with wrong steps, from the check's own reference."""
    return lambda channels, gamma=2, b=1: lesson04.size_of(channels, gamma, b, **steps)


WRONG_SIZES = {  # beside those of the tables
    "fixed": (lambda c, gamma=2, b=1: 3, "a fixed size"),
    "natural logarithm, even": (sized(log=math.log, odd=lambda k, t: k), "natural logarithm"),
    "no logarithm, no b": (lambda c, gamma=2, b=1: c // gamma | 1, "logarithm is missing"),
    "gamma in the logarithm, minus 1": (
        lambda c, gamma=2, b=1: (lambda k: k if k % 2 else k - 1)(int(math.log2(c / gamma) + b / gamma)),
        "not C. And: you make an even number odd by taking 1 away",
    ),
    "odd only": (lambda c, gamma=2, b=1: kernel_size(c, gamma, b) if c > 99 else None, "every way through it"),
    "looked up": (
        lambda c, gamma=2, b=1: 1 if c < 8 else 3 if c < 128 else 5 if c < 2048 else 7 if c < 9999 else 9,
        "typed in",
    ),
    "gamma for 2 only": (lambda c, gamma=2, b=1: kernel_size(c, min(gamma, 2), b), "gamma=2 and b=1 all is well"),
    "off by 2": (lambda c, gamma=2, b=1: kernel_size(c, gamma, b) + 2, "does not fit"),
    "even": (lambda c, gamma=2, b=1: 2 * kernel_size(c, gamma, b), "a window needs a middle"),
    "a float": (lambda c, gamma=2, b=1: float(kernel_size(c, gamma, b)), "whole number"),
    "a float tensor": (lambda c, gamma=2, b=1: torch.tensor(c).log2() / gamma + b / gamma, "whole number"),
    "text": (lambda c, gamma=2, b=1: str(kernel_size(c, gamma, b)), "an int is wanted"),
    "no return": (lambda c, gamma=2, b=1: None, "return"),
    "no defaults": (lambda c, gamma, b: kernel_size(c, gamma, b), "your code stopped"),
}
RIGHT_SIZES = [
    kernel_size,
    lambda channels, gamma=2, b=1: int(abs((math.log2(channels) + b) / gamma)) | 1,
    lambda channels, gamma=2, b=1: 2 * (int((np.log2(channels) + b) / gamma) // 2) + 1,
    lambda channels, gamma=2, b=1: int((math.log(channels, 2) + b) / gamma) | 1,
    lambda channels, gamma=2, b=1: int((math.log(channels) / math.log(2) + b) / gamma) | 1,
    lambda channels, gamma=2, b=1: math.floor(torch.log2(torch.tensor(channels)) / gamma + b / gamma) | 1,
    lambda channels, gamma=2, b=1: np.int64(kernel_size(channels, gamma, b)),
]
EXERCISES = {
    "eca": (check.check_eca, [ECA, OfficialStyle, AsConv2d, Windows], WRONG_ECAS),
    "kernel_size": (check.check_adaptive_kernel, RIGHT_SIZES, WRONG_SIZES),
}
TABLES = {"eca": (by_step, lesson04.ECA, lesson04.eca, lesson04.ECA_VALUES), "kernel_size": (sized, lesson04.SIZE)}
