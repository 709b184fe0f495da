"""Answers to the exercises of lesson 03; what the names mean is said in __init__.py."""

import torch
import torch.nn.functional as F
from torch import nn

from attn_lessons import check
from attn_lessons.check import lesson03


# --------------------------------------------------------------------------------------------------- exercise 1
class Channel(nn.Module):
    """The solution; the wrong answers below override one step of it each."""

    def __init__(self, channels, reduction):
        super().__init__()
        self.layers(channels, max(1, channels // reduction))

    def layers(self, channels, hidden, bias=False):
        self.reduce, self.expand = nn.Linear(channels, hidden, bias), nn.Linear(hidden, channels, bias)

    def mlp(self, squeezed):
        return self.expand(self.reduce(squeezed).relu())

    def mean(self, x):
        return x.mean((2, 3))

    def most(self, x):
        return x.amax((2, 3))

    def gate(self, mean, most):
        return (self.mlp(mean) + self.mlp(most)).sigmoid()

    def forward(self, x):
        return x * self.gate(self.mean(x), self.most(x))[:, :, None, None]


def channel(**methods):
    return type("MyChannelAttention", (Channel,), methods)


def gated(formula):
    """`formula(a, m)` of the MLP's two answers."""
    return channel(gate=lambda self, mean, most: formula(self.mlp(mean), self.mlp(most)))


def channel_steps(**steps):
    """The solution with wrong steps, from the check's own reference."""
    return channel(forward=lambda m, x: lesson03.channel(x, m.reduce.weight, m.expand.weight, **steps))


class TwoMLPs(Channel):
    def layers(self, channels, hidden, bias=False):
        super().layers(channels, hidden, bias)
        self.other = Channel.__new__(Channel)
        nn.Module.__init__(self.other)
        Channel.layers(self.other, channels, hidden, bias)

    def gate(self, mean, most):
        return (self.mlp(mean) + self.other.mlp(most)).sigmoid()


class Joined(Channel):
    def layers(self, channels, hidden, bias=False):
        self.reduce, self.expand = nn.Linear(2 * channels, hidden, bias), nn.Linear(hidden, channels, bias)

    def gate(self, mean, most):
        return self.mlp(torch.cat([mean, most], 1)).sigmoid()


class PerPosition(Channel):
    """Maximum over nothing: a gate for every position."""

    def forward(self, x):
        everywhere = self.mlp(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x * (self.mlp(self.mean(x))[:, :, None, None] + everywhere).sigmoid()


class Normed(Channel):
    def __init__(self, channels, reduction):
        super().__init__(channels, reduction)
        self.norm = nn.BatchNorm1d(channels, affine=False)

    def gate(self, mean, most):
        return self.norm(self.mlp(mean) + self.mlp(most)).sigmoid()


class InList(Channel):
    def layers(self, channels, hidden, bias=False):
        self.all = [nn.Linear(channels, hidden, bias), nn.Linear(hidden, channels, bias)]
        self.__dict__["reduce"], self.__dict__["expand"] = self.all


class Zeros(Channel):
    def layers(self, channels, hidden, bias=False):
        super().layers(channels, hidden, bias)
        nn.init.zeros_(self.reduce.weight)
        nn.init.zeros_(self.expand.weight)


class NotAModule:
    def __init__(self, channels, reduction):
        pass

    def __call__(self, x):
        return x


def changes_its_input(self, x):
    x *= self.gate(self.mean(x), self.most(x))[:, :, None, None]
    return x


def lazy(self, channels, hidden):
    self.reduce, self.expand = nn.LazyLinear(hidden, False), nn.LazyLinear(channels, False)


class EarlyReturn(Channel):
    def forward(self, x):
        out = torch.zeros_like(x)
        for i in range(len(x)):
            out[i] = super().forward(x[i : i + 1])[0]
            return out


def widths(make):
    """``make(c, r)`` hidden units."""
    return channel(__init__=lambda s, c, r: (nn.Module.__init__(s), s.layers(c, make(c, r)))[0])


WRONG_CHANNELS = {  # beside those of the tables
    "two MLPs": (TwoMLPs, "share one and the same"),
    "concatenated": (Joined, "not joined"),
    "sum, and before the MLP": (
        channel(mean=lambda s, x: x.sum((2, 3)), gate=lambda s, a, m: s.mlp(a + m).sigmoid()),
        "without dividing by H·W: take the mean. And: you add mean and maximum before the MLP",
    ),
    "operator slip": (gated(lambda a, m: (a + m / 3).sigmoid()), "another formula"),
    "maximum over the wrong axes": (channel(most=lambda s, x: x.amax((1, 2))), "acts on the last axis"),
    "spatial kept": (PerPosition, "from position to position"),
    "first row only": (channel(most=lambda s, x: x[:, :, 0].amax(2)), "shuffled"),
    "only the first image": (EarlyReturn, "return stands inside your loop"),
    "no dependence": (channel(gate=lambda s, a, m: Channel.gate(s, a * 0 + 1, m * 0 + 1)), "do not depend"),
    "not unsqueezed": (channel(forward=lambda s, x: x * s.gate(s.mean(x), s.most(x))), "Broadcasting"),
    "returns the gates": (channel(forward=lambda s, x: s.gate(s.mean(x), s.most(x))), "multiply x by the gates"),
    "detached": (gated(lambda a, m: (a + m).sigmoid().detach()), "no gradient reaches your two layers"),
    "mean detached": (channel(mean=lambda s, x: x.detach().mean((2, 3))), "part of the gradient"),
    "float hard-coded": (channel(most=lambda s, x: x.amax((2, 3)).float()), "float64"),
    "batch norm": (Normed, "other images in its batch|evaluation mode"),
    "off in evaluation mode": (
        channel(forward=lambda s, x: Channel.forward(s, x) if s.training else x),
        "evaluation mode",
    ),
    "biases": (channel(layers=lambda s, c, h: Channel.layers(s, c, h, bias=True)), "bias=False"),
    "hidden rounded": (widths(lambda c, r: max(1, round(c / r))), "hidden layer has"),
    "hidden width 0": (widths(lambda c, r: c // r), "no hidden unit"),
    "zeros": (Zeros, "start at 0"),
    "in a list": (InList, "no parameters"),
    "lazy layers": (channel(layers=lazy), "a lazy layer has no shape"),
    "in place": (channel(forward=changes_its_input), "in place"),
    "squeeze()": (
        channel(mean=lambda s, x: F.adaptive_avg_pool2d(x, 1).squeeze(), most=lambda s, x: x.amax((2, 3)).squeeze()),
        "batch of one",
    ),
    "max returns two": (channel(most=lambda s, x: x.flatten(2).max(2)), "positions"),
    "no nn.Module": (NotAModule, "nn.Module"),
    "an instance": (Channel(8, 2), "without (…)"),
}


class ChannelWithConvs(nn.Module):
    """As in the paper's code: adaptive pooling and 1×1 convolutions."""

    def __init__(self, channel, reduction):
        super().__init__()
        self.maxpool, self.avgpool = nn.AdaptiveMaxPool2d(1), nn.AdaptiveAvgPool2d(1)
        hidden = max(channel // reduction, 1)
        self.se = nn.Sequential(
            nn.Conv2d(channel, hidden, 1, bias=False), nn.ReLU(), nn.Conv2d(hidden, channel, 1, bias=False)
        )
        self.sigmoid = nn.Sigmoid()

    def forward(self, x):
        return x * self.sigmoid(self.se(self.maxpool(x)) + self.se(self.avgpool(x)))


class ChannelInOneGo(Channel):
    """Both summaries through the MLP as one batch; a refusal of r > C."""

    def __init__(self, channels, reduction):
        if reduction > channels:
            raise ValueError("no hidden unit")
        super().__init__(channels, reduction)

    def forward(self, x):
        both = torch.stack([x.mean((2, 3)), x.flatten(2).max(2)[0]])
        return torch.einsum("bchw,bc->bchw", x, torch.sigmoid(self.mlp(both).sum(0)))


class ReluOnSum(Channel):
    """ReLU for each, then one second layer on the sum: it is linear, so this is the same."""

    def gate(self, mean, most):
        return self.expand(F.relu(self.reduce(mean)) + F.relu(self.reduce(most))).sigmoid()


class BareParameters(Channel):
    """Two matrices, multiplied from the right."""

    def layers(self, channels, hidden):
        self.a, self.b = (nn.Parameter(torch.randn(shape)) for shape in ((channels, hidden), (hidden, channels)))

    def mlp(self, squeezed):
        return (squeezed @ self.a).relu() @ self.b


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

    def gate(self, x):
        return self.score(x).sigmoid()

    def forward(self, x):
        return x * self.gate(x)


def spatial(**methods):
    return type("MySpatialAttention", (Spatial,), methods)


def sums(function):
    return spatial(summary=lambda self, x: function(x))


def used(formula):
    return spatial(forward=lambda self, x: formula(x, self.gate(x)))


def built(**options):
    """Options of the convolution; a function of k where one is given."""
    return spatial(
        layers=lambda self, k: Spatial.layers(self, k, **{n: v(k) if callable(v) else v for n, v in options.items()})
    )


def spatial_steps(**steps):
    """The solution with wrong steps, from the check's own reference."""
    return spatial(forward=lambda m, x: lesson03.spatial(x, m.conv.weight, m.conv.bias, **steps))


class PerChannel(Spatial):
    """Channel by channel: a map for each."""

    def forward(self, x):
        both = torch.stack([x, x], 2).flatten(0, 1)
        return x * self.conv(both).view(x.shape).sigmoid()


class WithNorm(Spatial):
    def layers(self, k):
        super().layers(k, bias=False)
        self.norm = nn.BatchNorm2d(1)

    def score(self, x):
        return self.norm(self.conv(self.summary(x)))


class LinearMap(Spatial):
    def layers(self, k):
        self.line = nn.Linear(2, 1)

    def score(self, x):
        return self.line(self.summary(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class SpatialInList(Spatial):
    def layers(self, k):
        self.all = [nn.Conv2d(2, 1, k, padding=k // 2)]
        self.__dict__["conv"] = self.all[0]


class FixedChannels(Spatial):
    """Works, but for the number of channels it saw first."""

    def summary(self, x):
        if not hasattr(self, "seen"):
            self.seen = x.shape[1]
        return torch.stack([x.sum(1) / self.seen, x.amax(1)], 1)


def spatial_in_place(self, x):
    x *= self.gate(x)
    return x


def over_positions(x):
    return torch.stack([x.mean((2, 3)), x.amax((2, 3))], 1)


WRONG_SPATIALS = {  # beside those of the tables
    "built for 512 maps": (built(maps=512), "built for another"),
    "pools over the positions": (sums(lambda x: over_positions(x)[..., None]), "pooled over the positions"),
    "no pooling": (sums(lambda x: x), "all C channels"),
    "first two channels": (sums(lambda x: x[:, :2]), "change places"),
    "no padding": (built(padding=0), "edges are lost"),
    "dilated": (built(dilation=2, padding=lambda k: k - 1), "outside its window"),
    "mean only": (
        spatial(layers=lambda s, k: Spatial.layers(s, k, maps=1), summary=lambda s, x: x.mean(1, True)),
        "reads two",
    ),
    "joined along H": (sums(lambda x: torch.cat([x.mean(1, True), x.amax(1, True)], 2)), "side by side"),
    "stacked in front": (sums(lambda x: torch.stack([x.mean(1), x.amax(1)])), "side by side"),
    "a gate per channel": (PerChannel, "from channel to channel"),
    "two maps": (built(out=2), "returns 2 maps"),
    "groups": (built(out=2, groups=2), "returns 2 maps"),
    "linear": (LinearMap, "nn.Conv2d"),
    "fixed window": (spatial(layers=lambda s, k: Spatial.layers(s, 7)), "handed on"),
    "batch norm": (WithNorm, "there is a norm"),
    "sum and no sigmoid": (
        spatial_steps(mean=lambda x: x.sum(1), gate=lambda v: v),
        "take the sum. And: there is no sigmoid|lie outside",
    ),
    "maximum first, as in the paper, with the sum": (
        sums(lambda x: torch.stack([x.amax(1), x.sum(1)], 1)), "you take the sum",
    ),
    "returns the map": (used(lambda x, g: g), "multiply x by the gates"),
    "transposed": (spatial(score=lambda s, x: s.conv(s.summary(x).mT)), "changed places"),
    "detached": (used(lambda x, g: x * g.detach()), "no gradient reaches the convolution"),
    "half detached": (sums(lambda x: torch.stack([x.mean(1), x.detach().amax(1)], 1)), "part of the gradient"),
    "float hard-coded": (spatial(gate=lambda s, x: s.score(x).float().sigmoid()), "float64"),
    "fixed number of channels": (FixedChannels, "another number of channels"),
    "in a list": (SpatialInList, "no parameters"),
    "in place": (spatial(forward=spatial_in_place), "in place"),
    "squeeze()": (used(lambda x, g: x * g.squeeze()[:, None]), "batch of one|size 1|must match"),
    "map without its channel axis": (used(lambda x, g: x * g[:, 0]), "Broadcasting"),
    "an instance": (Spatial(3), "without (…)"),
    "no return": (used(lambda x, g: None), "return"),
}  # fmt: skip


class MaxFirst(nn.Module):
    """The paper's order, no bias, cat with keepdim."""

    def __init__(self, kernel_size=7):
        super().__init__()
        assert kernel_size % 2
        self.conv = nn.Conv2d(2, 1, kernel_size=kernel_size, padding=kernel_size // 2, bias=False)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x):
        max_result, _ = torch.max(x, dim=1, keepdim=True)
        avg_result = torch.mean(x, dim=1, keepdim=True)
        return self.sigmoid(self.conv(torch.cat([max_result, avg_result], 1))) * x


class SameWord(Spatial):
    """padding="same", cat, einsum."""

    def layers(self, k):
        super().layers(k, padding="same")

    def summary(self, x):
        return torch.cat((x.mean(dim=1, keepdim=True), x.max(dim=1, keepdim=True).values), dim=1)

    def forward(self, x):
        return torch.einsum("bchw,bhw->bchw", x, torch.sigmoid(self.score(x))[:, 0])


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
    """A window of unfold and a linear layer."""

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


EXERCISES = {
    "channel": (
        check.check_channel_attention,
        [Channel, ChannelWithConvs, ChannelInOneGo, ReluOnSum, BareParameters],
        WRONG_CHANNELS,
    ),
    "spatial": (
        check.check_spatial_attention,
        [Spatial, MaxFirst, SameWord, OwnWeight, Windows, Depth, TwoConvs],
        WRONG_SPATIALS,
    ),
}
TABLES = {"channel": (channel_steps, lesson03.CHANNEL), "spatial": (spatial_steps, lesson03.SPATIAL)}
