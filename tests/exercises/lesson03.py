"""Answers to the exercises of lesson 03; what the names mean is said in __init__.py."""

import torch
import torch.nn.functional as F
from torch import nn

from attn_lessons import check
from attn_lessons.check import lesson03

from .lesson02 import SE


# --------------------------------------------------------------------------------------------------- exercise 1
class Channel(SE):
    """The solution, with the layers of SE; what lesson 02 tests of them is not tested again."""

    def mlp(self, squeezed):
        return self.expand(self.reduce(squeezed).relu())

    def most(self, x):
        return x.amax((2, 3))

    def both(self, mean, most):
        return (self.mlp(mean) + self.mlp(most)).sigmoid()

    def forward(self, x):
        return x * self.both(self.squeeze(x), self.most(x))[:, :, None, None]


def channel(**methods):
    return type("MyChannelAttention", (Channel,), methods)


def channel_steps(**steps):
    """The solution with wrong steps, from the check's own reference."""
    return channel(forward=lambda m, x: lesson03.channel(x, m.reduce.weight, m.expand.weight, **steps))


def two_mlps(self, channels, hidden):
    SE.layers(self, channels, hidden)
    self.other = SE(channels, channels // hidden)


def joined(self, channels, hidden):
    self.reduce, self.expand = nn.Linear(2 * channels, hidden, bias=False), nn.Linear(hidden, channels, bias=False)


class EarlyReturn(Channel):
    def forward(self, x):
        out = torch.zeros_like(x)
        for i in range(len(x)):
            out[i] = super().forward(x[i : i + 1])[0]
            return out


def refusing(self, channels, reduction):
    if reduction > channels:
        raise ValueError("no hidden unit")
    SE.__init__(self, channels, reduction)


WRONG_CHANNELS = {  # beside those of the tables, and those of SE
    "two MLPs": (channel(layers=two_mlps), "share one and the same"),
    "joined": (channel(layers=joined, both=lambda m, a, b: m.mlp(torch.cat([a, b], 1)).sigmoid()), "not joined"),
    "sum, and before the MLP": (
        channel(squeeze=lambda m, x: x.sum((2, 3)), both=lambda m, a, b: m.mlp(a + b).sigmoid()),
        "without dividing by H·W: take the mean",
    ),
    "ReLU too late": (channel_steps(between=lambda v: v, answer=torch.relu), "a ReLU stands on the answers of the MLP"),
    "operator slip": (channel(both=lambda m, a, b: (m.mlp(a) + m.mlp(b) / 3).sigmoid()), "another formula"),
    "maximum over the wrong axes": (channel(most=lambda m, x: x.amax((1, 2))), "acts on the last axis"),
    "first row only": (channel(most=lambda m, x: x[:, :, 0].amax(2)), "shuffled"),
    "only the first image": (EarlyReturn, "return stands inside your loop"),
    "no dependence": (channel(both=lambda m, a, b: Channel.both(m, a * 0 + 1, b * 0 + 1)), "do not depend"),
    "mean detached": (channel(squeeze=lambda m, x: x.detach().mean((2, 3))), "part of the gradient"),
    "float hard-coded": (channel(most=lambda m, x: x.amax((2, 3)).float()), "float64"),
    "off in evaluation": (channel(forward=lambda m, x: Channel.forward(m, x) if m.training else x), "evaluation mode"),
    "refuses a small C": (channel(__init__=refusing), "whatever C and r are"),
    "max returns two": (channel(most=lambda m, x: x.flatten(2).max(2)), "positions"),
}


class ChannelWithConvs(nn.Module):
    """As in the paper's code: adaptive pooling and 1×1 convolutions."""

    def __init__(self, channel, reduction):
        super().__init__()
        self.maxpool, self.avgpool = nn.AdaptiveMaxPool2d(1), nn.AdaptiveAvgPool2d(1)
        layers = nn.Conv2d(channel, max(channel // reduction, 1), 1, bias=False), nn.ReLU()
        self.se = nn.Sequential(*layers, nn.Conv2d(max(channel // reduction, 1), channel, 1, bias=False))

    def forward(self, x):
        return x * torch.sigmoid(self.se(self.maxpool(x)) + self.se(self.avgpool(x)))


class ChannelInOneGo(Channel):
    """Both summaries through the MLP as one batch."""

    def forward(self, x):
        both = torch.stack([x.mean((2, 3)), x.flatten(2).max(2)[0]])
        return torch.einsum("bchw,bc->bchw", x, torch.sigmoid(self.mlp(both).sum(0)))


class ReluOnSum(Channel):
    """ReLU for each, then one second layer on the sum: it is linear, so this is the same."""

    def both(self, mean, most):
        return self.expand(F.relu(self.reduce(mean)) + F.relu(self.reduce(most))).sigmoid()


# --------------------------------------------------------------------------------------------------- exercise 2
class Spatial(nn.Module):
    """The solution; the wrong answers below override one step of it each."""

    def __init__(self, kernel_size):
        super().__init__()
        self.layers(kernel_size)

    def layers(self, k, maps=2, out=1, **options):
        self.conv = nn.Conv2d(maps, out, k, **{"padding": k // 2, **options})

    def summary(self, x):
        return torch.stack([x.mean(1), x.amax(1)], 1)

    def score(self, x):
        return self.conv(self.summary(x))

    def forward(self, x):
        return x * self.score(x).sigmoid()


def spatial(**methods):
    return type("MySpatialAttention", (Spatial,), methods)


def sums(function):
    return spatial(summary=lambda m, x: function(x))


def used(formula):
    return spatial(forward=lambda m, x: formula(x, m.score(x).sigmoid()))


def built(summary=Spatial.summary, **options):
    return spatial(summary=summary, layers=lambda m, k: Spatial.layers(m, k, **options))


def spatial_steps(**steps):
    """The solution with wrong steps, from the check's own reference."""
    return spatial(forward=lambda m, x: lesson03.spatial(x, m.conv.weight, m.conv.bias, **steps))


def with_norm(self, k):
    Spatial.layers(self, k, bias=False)
    self.norm = nn.BatchNorm2d(1)


def per_channel(self, x):
    return self.conv(torch.stack([x, x], 2).flatten(0, 1)).view(x.shape)


def kept(self, x):
    if not hasattr(self, "seen") or self.seen.shape[2:] != x.shape[2:] or len(self.seen) != len(x):
        self.seen = self.score(x).sigmoid()
    return x * self.seen


def first_number_of_channels(self, x):
    self.__dict__.setdefault("seen", x.shape[1])
    return torch.stack([x.sum(1) / self.seen, x.amax(1)], 1)


WRONG_SPATIALS = {  # beside those of the tables
    "built for 512 maps": (built(maps=512), "built for another"),
    "pools over the positions": (sums(lambda x: torch.stack([x.mean((2, 3)), x.amax((2, 3))], 1)), "where is gone"),
    "no pooling": (sums(lambda x: x), "all C channels"),
    "no padding": (built(padding=0), "edges are lost"),
    "mean only": (built(summary=lambda m, x: x.mean(1, True), maps=1), "reads two"),
    "joined along H": (sums(lambda x: torch.cat([x.mean(1, True), x.amax(1, True)], 2)), "side by side"),
    "stacked as images": (sums(lambda x: torch.stack([x.mean(1), x.amax(1)])), "side by side"),
    "a gate per channel": (spatial(score=per_channel), "from channel to channel"),
    "two maps": (built(out=2, groups=2), "returns 2 maps"),
    "fixed window": (spatial(layers=lambda m, k: Spatial.layers(m, 7)), "handed on"),
    "batch norm": (spatial(layers=with_norm), "there is a norm"),
    "sum and no sigmoid": (spatial_steps(mean=lambda x: x.sum(1), gate=lambda v: v), "take the sum. And: there is no"),
    "maximum first, and the sum": (sums(lambda x: torch.stack([x.amax(1), x.sum(1)], 1)), "you take the sum"),
    "map kept": (spatial(forward=kept), "keeps 'seen' from an earlier call"),
    "returns the map": (used(lambda x, g: g), "multiply x by the gates"),
    "transposed": (spatial(score=lambda m, x: m.conv(m.summary(x).mT)), "changed places"),
    "half detached": (sums(lambda x: torch.stack([x.mean(1), x.detach().amax(1)], 1)), "part of the gradient"),
    "float hard-coded": (used(lambda x, g: x * g.float()), "float64"),
    "fixed number of channels": (spatial(summary=first_number_of_channels), "another number of channels"),
    "squeeze()": (used(lambda x, g: x * g.squeeze()[:, None]), "batch of one"),
    "map without its channel axis": (used(lambda x, g: x * g[:, 0]), "Broadcasting"),
}


class MaxFirst(Spatial):
    """The paper's order, padding="same", no bias."""

    def layers(self, k):
        super().layers(k, padding="same", bias=False)

    def summary(self, x):
        return torch.cat((x.max(dim=1, keepdim=True).values, x.mean(dim=1, keepdim=True)), dim=1)


class OwnWeight(Spatial):
    """Without nn.Conv2d: a parameter and a loop over the window, mirrored."""

    def layers(self, k):
        self.weight, self.k = nn.Parameter(torch.randn(2, k, k)), k

    def score(self, x):
        padded, (h, w), k = F.pad(self.summary(x), (self.k // 2,) * 4), x.shape[2:], self.k
        parts = [self.weight[:, k - 1 - i, k - 1 - j, None, None] * padded[:, :, i : i + h, j : j + w]
                 for i in range(k) for j in range(k)]  # fmt: skip
        return sum(parts).sum(1, keepdim=True)


class Windows(Spatial):
    """Windows of unfold and a linear layer."""

    def layers(self, k):
        self.line, self.k = nn.Linear(2 * k * k, 1), k

    def score(self, x):
        windows = F.unfold(self.summary(x), self.k, padding=self.k // 2)
        return self.line(windows.mT).mT.unflatten(2, x.shape[2:])


class Depth(Spatial):
    """The two maps as the depth of a 3-D convolution."""

    def layers(self, k):
        self.conv = nn.Conv3d(1, 1, (2, k, k), padding=(0, k // 2, k // 2))

    def score(self, x):
        return self.conv(self.summary(x)[:, None])[:, 0]


class TwoConvs(Spatial):
    """A convolution for each map."""

    def layers(self, k):
        self.one, self.two = nn.Conv2d(1, 1, k, padding=k // 2), nn.Conv2d(1, 1, k, padding=k // 2)

    def score(self, x):
        return self.one(x.mean(1, True)) + self.two(x.amax(1, True))


RIGHT_SPATIALS = [Spatial, MaxFirst, OwnWeight, Windows, Depth, TwoConvs]
EXERCISES = {
    "channel": (check.check_channel_attention, [Channel, ChannelWithConvs, ChannelInOneGo, ReluOnSum], WRONG_CHANNELS),
    "spatial": (check.check_spatial_attention, RIGHT_SPATIALS, WRONG_SPATIALS),
}
TABLES = {
    "channel": (channel_steps, lesson03.CHANNEL, lesson03.channel, lesson03.CHANNEL_VALUES),
    "spatial": (spatial_steps, lesson03.SPATIAL, lesson03.spatial, lesson03.VALUES),
}
