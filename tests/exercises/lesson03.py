"""Answers to the exercises of lesson 03; what the names mean is said in __init__.py."""

import torch
import torch.nn.functional as F
from torch import nn

from attn_lessons import check


def pool(function):
    """`function` over H and W."""
    return lambda m, x: function(x.flatten(2))


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


def between(function):
    return channel(mlp=lambda self, s: self.expand(function(self.reduce(s))))


def applied(formula):
    def forward(self, x):
        return formula(x, self.gate(self.mean(x), self.most(x))[:, :, None, None])

    return channel(forward=forward)


class TwoMLPs(Channel):
    def __init__(self, channels, reduction):
        super().__init__(channels, reduction)
        hidden = max(1, channels // reduction)
        self.other = nn.Sequential(
            nn.Linear(channels, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, channels, bias=False)
        )

    def gate(self, mean, most):
        return (self.mlp(mean) + self.other(most)).sigmoid()


class Joined(nn.Module):
    def __init__(self, channels, reduction):
        super().__init__()
        hidden = max(1, channels // reduction)
        self.mlp = nn.Sequential(
            nn.Linear(2 * channels, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, channels, bias=False)
        )

    def forward(self, x):
        return x * self.mlp(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)).sigmoid()[:, :, None, None]


class JoinedLate(Channel):
    """The hidden units of both, side by side."""

    def layers(self, channels, hidden, bias=False):
        self.reduce, self.expand = nn.Linear(channels, hidden, bias), nn.Linear(2 * hidden, channels, bias)

    def gate(self, mean, most):
        return self.expand(torch.cat([self.reduce(mean), self.reduce(most)], 1).relu()).sigmoid()


class HalfShared(Channel):
    def layers(self, channels, hidden, bias=False):
        super().layers(channels, hidden, bias)
        self.other = nn.Linear(channels, hidden, bias)

    def gate(self, mean, most):
        return (self.expand(self.reduce(mean).relu()) + self.expand(self.other(most).relu())).sigmoid()


class PerPlace(Channel):
    """Maximum over nothing: a gate for every position."""

    def forward(self, x):
        everywhere = self.mlp(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x * (self.mlp(self.mean(x))[:, :, None, None] + everywhere).sigmoid()


class MaxOverW(Channel):
    """A maximum for every row."""

    def forward(self, x):
        rows = self.mlp(x.amax(3).transpose(1, 2)).transpose(1, 2)[..., None]
        return x * (self.mlp(self.mean(x))[:, :, None, None] + rows).sigmoid()


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


class Lazy(Channel):
    def layers(self, channels, hidden, bias=False):
        self.reduce, self.expand = nn.LazyLinear(hidden, bias), nn.LazyLinear(channels, bias)


class NotAModule:
    def __init__(self, channels, reduction):
        pass

    def __call__(self, x):
        return x


def changes_its_input(self, x):
    x *= self.gate(self.mean(x), self.most(x))[:, :, None, None]
    return x


WRONG_CHANNELS = {
    "relu behind the second layer": (gated(lambda a, m: (a.relu() + m.relu()).sigmoid()), "behind the second layer"),
    "layers not used": (channel(mlp=lambda s, q: q), "not used"),
    "relu first": (channel(mean=lambda s, x: x.relu().mean((2, 3))), "negative values"),
    "position of the maximum": (channel(most=lambda s, x: x.flatten(2).max(2)[1].float()), "*position*"),
    "gates divided by their sum": (
        gated(lambda a, m: (a + m).sigmoid() / (a + m).sigmoid().sum(1, True)),
        "divide the gates",
    ),
    "scales the means": (
        channel(forward=lambda s, x: (s.mean(x) * s.gate(s.mean(x), s.most(x)))[:, :, None, None].expand_as(x)),
        "scaled the means",
    ),
    "two MLPs": (TwoMLPs, "share one and the same"),
    "concatenated": (Joined, "not joined"),
    "concatenated hidden": (JoinedLate, "hidden layer has"),
    "half shared": (HalfShared, "has 3"),
    "sigmoid before the sum": (gated(lambda a, m: a.sigmoid() + m.sigmoid()), "squash first"),
    "gates averaged": (gated(lambda a, m: (a.sigmoid() + m.sigmoid()) / 2), "average two gates"),
    "gates multiplied": (gated(lambda a, m: a.sigmoid() * m.sigmoid()), "multiply two gates"),
    "larger gate": (gated(lambda a, m: torch.maximum(a, m).sigmoid()), "larger of the two"),
    "answers averaged": (gated(lambda a, m: ((a + m) / 2).sigmoid()), "without dividing"),
    "answers multiplied": (gated(lambda a, m: (a * m).sigmoid()), "multiply the two answers"),
    "answers subtracted": (gated(lambda a, m: (m - a).sigmoid()), "subtract"),
    "added before the MLP": (channel(gate=lambda s, a, m: s.mlp(a + m).sigmoid()), "before the MLP"),
    "averaged before the MLP": (channel(gate=lambda s, a, m: s.mlp((a + m) / 2).sigmoid()), "before the MLP"),
    "hidden added before the ReLU": (
        channel(gate=lambda s, a, m: s.expand((s.reduce(a) + s.reduce(m)).relu()).sigmoid()),
        "before the MLP",
    ),
    "no sigmoid": (gated(lambda a, m: a + m), "no sigmoid"),
    "softmax": (gated(lambda a, m: (a + m).softmax(1)), "compete"),
    "tanh": (gated(lambda a, m: (a + m).tanh()), "tanh"),
    "relu for sigmoid": (gated(lambda a, m: (a + m).relu()), "no upper end"),
    "relu and sigmoid": (gated(lambda a, m: (a + m).relu().sigmoid()), "above 1/2"),
    "hard sigmoid": (gated(lambda a, m: F.hardsigmoid(a + m)), "hard sigmoid"),
    "two sigmoids": (gated(lambda a, m: (a + m).sigmoid().sigmoid()), "two sigmoids"),
    "no relu": (between(lambda h: h), "no ReLU"),
    "sigmoid inside": (between(torch.sigmoid), "inside the MLP"),
    "tanh inside": (between(torch.tanh), "inside the MLP"),
    "gelu inside": (between(F.gelu), "GELU"),
    "leaky": (between(lambda h: F.leaky_relu(h, 0.01)), "leaky"),
    "relu6": (between(F.relu6), "ReLU6"),
    "mean only": (channel(gate=lambda s, a, m: s.mlp(a).sigmoid()), "that is SE"),
    "maximum only": (channel(gate=lambda s, a, m: s.mlp(m).sigmoid()), "only the maximum"),
    "mean twice": (channel(most=Channel.mean), "mean twice"),
    "maximum twice": (channel(mean=Channel.most), "maximum twice"),
    "minimum": (channel(most=pool(lambda v: v.amin(2))), "not the minimum"),
    "absolute": (channel(most=pool(lambda v: v.abs().amax(2))), "absolute values"),
    "median for maximum": (channel(most=pool(lambda v: v.median(2).values)), "not the median"),
    "standard deviation": (channel(most=pool(lambda v: v.std(2))), "standard deviation"),
    "sum for mean": (channel(mean=pool(lambda v: v.sum(2))), "without dividing"),
    "maximum over H, mean over W": (channel(most=lambda s, x: x.amax(2).mean(2)), "largest over H"),
    "mean over H, maximum over W": (channel(most=lambda s, x: x.mean(2).amax(2)), "averages over H"),
    "maximum over the wrong axes": (channel(most=lambda s, x: x.amax((1, 2))), "acts on the last axis"),
    "maximum over channels too": (
        channel(most=lambda s, x: x.amax((1, 2, 3))[:, None].expand(-1, x.shape[1])),
        "over the channels as well",
    ),
    "maximum of the batch": (
        channel(most=lambda s, x: x.amax((0, 2, 3))[None].expand(len(x), -1)),
        "over the images of the batch",
    ),
    "one maximum": (channel(most=lambda s, x: x.max().expand(x.shape[:2])), "whole batch"),
    "spatial kept": (PerPlace, "from position to position"),
    "maximum of each row": (MaxOverW, "from position to position"),
    "not unsqueezed": (channel(forward=lambda s, x: x * s.gate(s.mean(x), s.most(x))), "Broadcasting"),
    "returns the gates": (channel(forward=lambda s, x: s.gate(s.mean(x), s.most(x))), "multiply x by the gates"),
    "gates spread out": (applied(lambda x, g: g.expand_as(x)), "multiply x by them"),
    "residual": (applied(lambda x, g: x + x * g), "residual"),
    "adds": (applied(lambda x, g: x + g), "scaling multiplies"),
    "one minus gate": (applied(lambda x, g: x - x * g), "turned round"),
    "gate twice": (applied(lambda x, g: x * g * g), "applied twice"),
    "first image's gates": (applied(lambda x, g: x * g[:1]), "first one"),
    "detached": (applied(lambda x, g: x * g.detach()), "no gradient reaches your two layers"),
    "batch average": (gated(lambda a, m: (a + m).mean(0, True).sigmoid()), "over the batch"),
    "batch norm": (Normed, "other images in its batch|evaluation mode"),
    "biases": (channel(layers=lambda s, c, h: Channel.layers(s, c, h, bias=True)), "bias=False"),
    "reduction ignored": (channel(layers=lambda s, c, h: Channel.layers(s, c, 16 + 1)), "hidden layer has"),
    "in a list": (InList, "no parameters"),
    "lazy layers": (Lazy, "a lazy layer has no shape"),
    "hidden width 0": (
        channel(__init__=lambda s, c, r: (nn.Module.__init__(s), Channel.layers(s, c, c // r))[0]),
        "no hidden unit",
    ),
    "dropout": (gated(lambda a, m: F.dropout(a + m, 0.5).sigmoid()), "chance"),
    "in place": (channel(forward=changes_its_input), "in place"),
    "squeeze()": (
        channel(mean=lambda s, x: F.adaptive_avg_pool2d(x, 1).squeeze(), most=lambda s, x: x.amax((2, 3)).squeeze()),
        "batch of one",
    ),
    "max returns two": (channel(most=lambda s, x: x.flatten(2).max(2)), "positions"),
    "no nn.Module": (NotAModule, "nn.Module"),
    "an instance": (Channel(8, 2), "without (…)"),
    "no return": (channel(forward=lambda s, x: None), "return"),
}  # fmt: skip


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


def two(one, other):
    return sums(lambda x: torch.stack([one(x), other(x)], 1))


def squash(function):
    return spatial(gate=lambda self, x: function(self.score(x)))


def used(formula):
    return spatial(forward=lambda self, x: formula(x, self.gate(x)))


def built(**options):
    return spatial(layers=lambda self, k: Spatial.layers(self, k, **options))


class PerChannel(Spatial):
    """Channel by channel: a map for each."""

    def forward(self, x):
        b, c, h, w = x.shape
        both = torch.stack([x, x], 2).flatten(0, 1)
        return x * self.conv(both).view(b, c, h, w).sigmoid()


class TwoConvs(Spatial):
    def layers(self, k):
        self.one, self.two = nn.Conv2d(1, 1, k, padding=k // 2), nn.Conv2d(1, 1, k, padding=k // 2)

    def score(self, x):
        return self.one(x.mean(1, True)) + self.two(x.amax(1, True))


class WithNorm(Spatial):
    def layers(self, k):
        super().layers(k, bias=False)
        self.norm = nn.BatchNorm2d(1)

    def score(self, x):
        return self.norm(self.conv(self.summary(x)))


class QuietNorm(WithNorm):
    def layers(self, k):
        super().layers(k)
        self.norm = nn.BatchNorm2d(1, affine=False)


class OneD(Spatial):
    def layers(self, k):
        self.conv = nn.Conv1d(2, 1, k, padding=k // 2)

    def score(self, x):
        return self.conv(self.summary(x).flatten(2)).unflatten(2, x.shape[2:])


class LinearMap(Spatial):
    def layers(self, k):
        self.line = nn.Linear(2, 1)

    def score(self, x):
        return self.line(self.summary(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Stretched(Spatial):
    def layers(self, k):
        super().layers(k, padding=0)

    def score(self, x):
        if min(x.shape[2:]) < self.conv.kernel_size[0]:
            return F.interpolate(self.summary(x)[:, :1], x.shape[2:])
        return F.interpolate(self.conv(self.summary(x)), x.shape[2:])


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


def over_places(x):
    return torch.stack([x.mean((2, 3)), x.amax((2, 3))], 1)


WRONG_SPATIALS = {
    "x unchanged": (used(lambda x, g: x), "as it went in"),
    "squares": (two(lambda x: x.square().mean(1), lambda x: x.amax(1)), "squares"),
    "mixed before": (two(*[lambda x: (x.mean(1) + x.amax(1)) / 2] * 2), "mixed mean and maximum"),
    "pools over neighbours": (
        two(lambda x: F.avg_pool2d(x, 3, 1, 1).mean(1), lambda x: F.max_pool2d(x, 3, 1, 1).amax(1)),
        "neighbouring positions",
    ),
    "built for 512 maps": (spatial(layers=lambda s, k: Spatial.layers(s, k, maps=512)), "built for 512"),
    "pools over the positions": (sums(lambda x: over_places(x)[..., None]), "pooled over the positions"),
    "pools over the positions, adaptive": (
        sums(lambda x: torch.cat([F.adaptive_avg_pool2d(x, 1), F.adaptive_max_pool2d(x, 1)], 1)),
        "pooled over the positions",
    ),
    "constant over the positions": (
        two(lambda x: x.mean((1, 2, 3))[:, None, None].expand(-1, *x.shape[2:]),
            lambda x: x.amax((1, 2, 3))[:, None, None].expand(-1, *x.shape[2:])),
        "another formula",
    ),
    "no pooling": (sums(lambda x: x), "all C channels"),
    "no padding": (built(padding=0), "edges are lost"),
    "padding 1": (built(padding=1), "edges are lost"),
    "padding k": (spatial(layers=lambda s, k: Spatial.layers(s, k, padding=k)), "edges are lost"),
    "stride 2": (built(stride=2), "edges are lost"),
    "stretched": (Stretched, "stretch"),
    "reflected edges": (built(padding_mode="reflect"), "zeros"),
    "replicated edges": (built(padding_mode="replicate"), "zeros"),
    "sum for mean": (two(lambda x: x.sum(1), lambda x: x.amax(1)), "the sum"),
    "mean twice": (two(lambda x: x.mean(1), lambda x: x.mean(1)), "mean twice"),
    "maximum twice": (two(lambda x: x.amax(1), lambda x: x.amax(1)), "maximum twice"),
    "minimum": (two(lambda x: x.mean(1), lambda x: x.amin(1)), "minimum"),
    "median": (two(lambda x: x.median(1).values, lambda x: x.amax(1)), "median"),
    "absolute": (two(lambda x: x.abs().mean(1), lambda x: x.amax(1)), "absolute"),
    "standard deviation": (two(lambda x: x.mean(1), lambda x: x.std(1)), "standard deviation"),
    "indices of max": (two(lambda x: x.mean(1), lambda x: x.max(1)[1].float()), "which"),
    "first two channels": (sums(lambda x: x[:, :2]), "first two channels"),
    "mean only": (
        spatial(layers=lambda s, k: Spatial.layers(s, k, maps=1), summary=lambda s, x: x.mean(1, True)),
        "should read two",
    ),
    "mean plus maximum": (
        spatial(
            layers=lambda s, k: Spatial.layers(s, k, maps=1),
            summary=lambda s, x: x.mean(1, True) + x.amax(1, True),
        ),
        "should read two",
    ),
    "a single map": (sums(lambda x: x.mean(1, True)), "a single map"),
    "joined along H": (sums(lambda x: torch.cat([x.mean(1, True), x.amax(1, True)], 2)), "side by side"),
    "joined along the batch": (sums(lambda x: torch.cat([x.mean(1, True), x.amax(1, True)], 0)), "side by side"),
    "stacked in front": (sums(lambda x: torch.stack([x.mean(1), x.amax(1)])), "side by side"),
    "joined without keepdim": (sums(lambda x: torch.cat([x.mean(1), x.amax(1)], 1)), "side by side"),
    "a gate per channel": (PerChannel, "from channel to channel"),
    "two maps": (built(out=2), "gives 2 maps"),
    "groups": (built(out=2, groups=2), "gives 2 maps"),
    "two convolutions": (TwoConvs, "two convolutions"),
    "1-D": (OneD, "nn.Conv2d"),
    "linear": (LinearMap, "nn.Conv2d"),
    "fixed window": (spatial(layers=lambda s, k: Spatial.layers(s, 7)), "handed on"),
    "dilated": (spatial(layers=lambda s, k: Spatial.layers(s, k, dilation=2, padding=k - 1)), "another formula"),
    "batch norm": (WithNorm, "other parameters"),
    "batch norm without weights": (QuietNorm, "batch norm"),
    "no sigmoid": (squash(lambda s: s), "no sigmoid"),
    "relu": (squash(torch.relu), "no upper end"),
    "relu and sigmoid": (squash(lambda s: s.relu().sigmoid()), "above 1/2"),
    "tanh": (squash(torch.tanh), "tanh"),
    "softmax over positions": (squash(lambda s: s.flatten(2).softmax(2).view_as(s)), "compete"),
    "softmax over the map": (squash(lambda s: s.softmax(1)), "1 everywhere"),
    "hard sigmoid": (squash(F.hardsigmoid), "hard sigmoid"),
    "sigmoid before the convolution": (
        spatial(gate=lambda s, x: s.conv(s.summary(x).sigmoid())), "belongs to the end",
    ),
    "map averaged": (squash(lambda s: s.sigmoid().mean((2, 3), True)), "where is lost"),
    "batch average": (squash(lambda s: s.mean(0, True).sigmoid()), "over the batch"),
    "divided by its sum": (squash(lambda s: s.sigmoid() / s.sigmoid().sum((2, 3), True)), "by its sum"),
    "residual": (used(lambda x, g: x + x * g), "residual"),
    "adds": (used(lambda x, g: x + g), "a gate multiplies"),
    "returns the map": (used(lambda x, g: g), "multiply x by the gates"),
    "returns the map, spread": (used(lambda x, g: g.expand_as(x)), "multiply x by it"),
    "one minus gate": (used(lambda x, g: x - x * g), "turned round"),
    "gate twice": (used(lambda x, g: x * g * g), "applied twice"),
    "first image's map": (used(lambda x, g: x * g[:1]), "first one"),
    "gates the mean": (used(lambda x, g: (x.mean(1, True) * g).expand_as(x)), "weight x itself"),
    "transposed": (spatial(score=lambda s, x: s.conv(s.summary(x).mT)), "side by side|must match|another"),
    "detached": (used(lambda x, g: x * g.detach()), "no gradient reaches the convolution"),
    "fixed number of channels": (FixedChannels, "another number of channels"),
    "in a list": (SpatialInList, "no parameters"),
    "in place": (spatial(forward=spatial_in_place), "in place"),
    "squeeze()": (used(lambda x, g: x * g.squeeze()[:, None]), "batch of one"),
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


class OwnWeight(nn.Module):
    """Without nn.Conv2d: a parameter and the function."""

    def __init__(self, k):
        super().__init__()
        self.weight, self.k = nn.Parameter(torch.randn(1, 2, k, k)), k

    def forward(self, x):
        return x * F.conv2d(torch.stack([x.mean(1), x.amax(1)], 1), self.weight, padding=self.k // 2).sigmoid()


EXERCISES = {
    "channel": (check.check_channel_attention, [Channel, ChannelWithConvs, ChannelInOneGo, ReluOnSum], WRONG_CHANNELS),
    "spatial": (check.check_spatial_attention, [Spatial, MaxFirst, SameWord, OwnWeight], WRONG_SPATIALS),
}
