"""What people write in place of a step of lesson 08: where a module is inserted, and how a weight starts."""

from collections.abc import Callable

import torch
from torch import nn

from .slips import slips
from .steps import Table, then


# --------------------------------------------------------------------------------------------------- where it stands
def vgg(numbers: list) -> nn.Sequential:
    wide, layers = [3, *(n for n in numbers if n != "M")], []
    for n in numbers:
        layers += [nn.MaxPool2d(2)] if n == "M" else [nn.Conv2d(wide.pop(0), n, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)


class Probe(nn.Module):
    """What is to be inserted: it can tell where it stands, since it grows and falls."""

    def __init__(self, channels: int):
        super().__init__()
        self.shift = nn.Parameter(2 * torch.randn(1, channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(9 * x + self.shift)


ORDER: Table = {  # ReLU, module, pooling → what stands at the end of a block, in place of these three
    "your modules stand after the poolings: they belong right before them.": lambda r, m, p: (r, p, m),
    "your modules stand before the ReLU: they belong right before the pooling.": lambda r, m, p: (m, r, p),
    "each module is called twice: once is enough.": lambda r, m, p: (r, m, m, p),
    "your modules stand in place of the ReLUs: they follow them.": lambda r, m, p: (m, p),
    "your modules stand in place of the poolings: those must stay.": lambda r, m, p: (r, m),
    "an average stands in place of each pooling.": lambda r, m, p: (r, m, nn.AvgPool2d(2)),
    "there are two poolings after each module: one is enough.": lambda r, m, p: (r, m, p, p),
}
JOIN: Table = {  # what comes to a module, its result → what goes on
    "the module's result is thrown away: hand it on (a hook does so if it returns it).": lambda x, y: x,
    "you add what comes to the module's result: hand on that alone.": torch.add,
    "you multiply by the module's result: hand on that alone.": torch.mul,
}
INSERTED = dict(order=ORDER, join=JOIN)
RESULT = dict(attend="the module's result, BCHW")


def inserted(x, row, modules, order=lambda r, m, p: (r, m, p), attend=lambda y: y, join=lambda x, y: y):
    """The result of a row with one of the modules before each of its poolings."""
    pools, start = [i for i, layer in enumerate(row) if isinstance(layer, nn.MaxPool2d)], 0
    for i, module in zip(pools, modules, strict=True):
        x, start = row[start : i - 1](x), i + 1
        for part in order(row[i - 1], module, row[i]):
            x = join(x, attend(part(x))) if part is module else part(x)
    return row[start:](x)


# --------------------------------------------------------------------------------------------------- how it starts
class Projection(nn.Linear):
    """A linear layer under another name, as mechanisms have."""


class Mixed(nn.Identity):
    """One layer of each kind that a mechanism may have."""

    def __init__(self, channels: int):
        super().__init__()
        self.line = nn.Linear(channels, 4 * channels)
        self.window = nn.Conv2d(channels, 32, 3)
        self.along = nn.Conv1d(8, 256, 5, bias=False)
        self.inner = nn.Sequential(nn.ReLU(), nn.Sequential(nn.Linear(channels, 3 * channels)))
        self.project = Projection(channels, 2 * channels)
        self.norm, self.group = nn.BatchNorm2d(channels), nn.GroupNorm(1, channels)
        self.table = nn.Parameter(torch.empty(channels, 5))


def normal(sd: Callable[[torch.Tensor], float]) -> Callable:
    return lambda w: torch.randn_like(w) * sd(w)


kaiming = normal(lambda w: (2 / w[0].numel()) ** 0.5)
FILL: Table = {  # a weight → the numbers that it is filled with, in place of kaiming(w)
    "your weights are uniform; Kaiming's normal distribution is meant.": nn.init.kaiming_uniform_,
    "that is PyTorch's own start (reset_parameters), not Kaiming's.": lambda w: nn.init.kaiming_uniform_(w, 5**0.5),
    "that is PyTorch's own size (a=√5), smaller than Kaiming's.": normal(lambda w: (3 * w[0].numel()) ** -0.5),
    "that is Xavier's size, with the mean of fan-in and fan-out: Kaiming's has fan-in.": nn.init.xavier_normal_,
    "that is Xavier's uniform distribution; Kaiming's normal one is meant.": nn.init.xavier_uniform_,
    "that is Kaiming's with fan_out: fan_in is meant.": lambda w: nn.init.kaiming_normal_(w, mode="fan_out"),
    "the 2 that makes up for the ReLU is missing (nonlinearity='relu').": normal(lambda w: w[0].numel() ** -0.5),
    "2 / fan-in is the variance: the standard deviation is its root.": normal(lambda w: 2 / w[0].numel()),
    "** 1/2 halves, since the power comes first: write ** 0.5 or a root.": normal(lambda w: 1 / w[0].numel()),
    "your fan-in counts channels alone: the window counts, too.": normal(lambda w: (2 / w.shape[1]) ** 0.5),
    "you count all numbers of a weight: fan-in counts those of one unit.": normal(lambda w: (2 / w.numel()) ** 0.5),
    "you count the units (shape[0]): fan-in counts what comes to one.": normal(lambda w: (2 / w.shape[0]) ** 0.5),
    "all weights of a layer are equal: then all its units would learn the same.": torch.ones_like,
    "all weights are zero: then nothing in there can start to learn.": torch.zeros_like,
    **{f"your weights have standard deviation {sd}, whatever the layer: it follows fan-in.": normal(lambda w, sd=sd: sd)
       for sd in (1, 0.1, 0.02, 0.01)},
}  # fmt: skip
WEIGHTS = dict(fill="the weights, ")
STARTS = FILL | {idea: then(kaiming, slip) for idea, slip in slips(WEIGHTS["fill"]).items()}


def filled(weight: torch.Tensor, fill: Callable = kaiming) -> torch.Tensor:
    return fill(weight.clone())


def alike(a: torch.Tensor, b: torch.Tensor) -> bool:
    """May both be numbers of one distribution? Their mean, their spread and their tails must agree."""
    mean, spread = ([f(w) for w in (a, b)] for f in (torch.mean, torch.std))
    tails = [((w - w.mean()) / (w.std() + 1e-9)).pow(4).mean() for w in (a, b)]
    near = abs(mean[0] - mean[1]) < 0.08 * (spread[1] + abs(mean[1])) + 1e-9 and abs(tails[0] - tails[1]) < 0.4
    return bool(near and abs(((spread[0] + 1e-9) / (spread[1] + 1e-9)).log()) < 0.05)
