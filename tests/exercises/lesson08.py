"""Exercises of lesson 08: right answers pass however they are written, wrong ones hear which idea is wrong."""

import copy
from collections import OrderedDict

import torch
from torch import nn

from attn_lessons import check


# --------------------------------------------------------------------------------------------------- exercise 1
def features(
    numbers, between=nn.ReLU, pool=None, wrap=nn.Sequential, conv=nn.Conv2d, first=3, relu_first=False, **options
):
    """The solution, with its parts to be replaced."""
    layers, channels = [], first
    options = {"padding": 1, "kernel_size": 3, **options}
    for number in numbers:
        if number == "M":
            layers.append(pool() if pool else nn.MaxPool2d(2))
        else:
            pair = [conv(channels, number, **options)] + ([between()] if between else [])
            layers += pair[::-1] if relu_first else pair
            channels = number
    return wrap(*layers)


def built(**options):
    return lambda numbers: features(numbers, **options)


def stuck_at_three(numbers):
    return nn.Sequential(*(nn.MaxPool2d(2) if n == "M" else nn.Conv2d(3, n, 3, padding=1) for n in numbers))


def stuck_with_relu(numbers):
    layers = []
    for n in numbers:
        layers += [nn.MaxPool2d(2)] if n == "M" else [nn.Conv2d(3, n, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)


def relu_only_before_pool(numbers):
    layers, channels = [], 3
    for n in numbers:
        if n == "M":
            layers += [nn.ReLU(), nn.MaxPool2d(2)]
        else:
            layers.append(nn.Conv2d(channels, n, 3, padding=1))
            channels = n
    return nn.Sequential(*layers)


def pairs(numbers):
    """Each convolution in a row with its ReLU."""
    layers, channels = [], 3
    for n in numbers:
        if n == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers.append(nn.Sequential(nn.Conv2d(channels, n, 3, padding=1), nn.ReLU()))
            channels = n
    return nn.Sequential(*layers)


def with_norm(numbers):
    layers = []
    for layer in features(numbers):
        layers += [layer, nn.BatchNorm2d(layer.out_channels)] if isinstance(layer, nn.Conv2d) else [layer]
    return nn.Sequential(*layers)


def eats_the_list(numbers):
    layers, channels = [], 3
    while numbers:
        n = numbers.pop(0)
        if n == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, n, 3, padding=1), nn.ReLU()]
            channels = n
    return nn.Sequential(*layers)


def resets_at_pool(numbers):
    layers, channels = [], 3
    for n in numbers:
        if n == "M":
            layers.append(nn.MaxPool2d(2))
            channels = 3
        else:
            layers += [nn.Conv2d(channels, n, 3, padding=1), nn.ReLU()]
            channels = n
    return nn.Sequential(*layers)


def compares_with_int(numbers):
    return features([n for n in numbers if n != "M"])


def one_per_pool(numbers):
    """Only the last convolution of each block."""
    kept = [n for i, n in enumerate(numbers) if n == "M" or i + 1 == len(numbers) or numbers[i + 1] == "M"]
    return features(kept)


class Wrapped(nn.Module):
    def __init__(self, numbers):
        super().__init__()
        self.body = features(numbers)

    def forward(self, x):
        return self.body(x)


WRONG_FEATURES = {
    "a list": (built(wrap=lambda *layers: list(layers)), "bare list"),
    "a ModuleList": (built(wrap=lambda *layers: nn.ModuleList(layers)), "bare list"),
    "None": (lambda numbers: None, "None"),
    "always three channels": (stuck_with_relu, "went out last"),
    "no relu": (built(between=None), "no ReLU"),
    "no relu and three channels": (stuck_at_three, "no ReLU"),
    "relu only before the pooling": (relu_only_before_pool, "should be a ReLU"),
    "relu first": (built(relu_first=True), "should be a convolution"),
    "no padding": (built(padding=0), "keeps height and width"),
    "padding of 2": (built(padding=2), "keeps height and width"),
    "window of 1": (built(kernel_size=1, padding=0), "3 × 3 everywhere"),
    "window of 5": (built(kernel_size=5, padding=2), "3 × 3 everywhere"),
    "steps of 2": (built(stride=2), "steps by more than 1"),
    "no bias": (built(bias=False), "no bias"),
    "padding by reflection": (built(padding_mode="reflect"), "padding by zeros"),
    "average pooling": (built(pool=lambda: nn.AvgPool2d(2)), "average"),
    "pooling of 3": (built(pool=lambda: nn.MaxPool2d(3)), "halves"),
    "pooling that keeps the size": (built(pool=lambda: nn.MaxPool2d(3, 1, 1)), "halves"),
    "overlapping pooling": (built(pool=lambda: nn.MaxPool2d(3, 2, 1)), "2 × 2"),
    "sigmoid": (built(between=nn.Sigmoid), "ReLU"),
    "gelu": (built(between=nn.GELU), "ReLU"),
    "rows inside the row": (pairs, "row inside"),
    "batch norm": (with_norm, "batch norm"),
    "list eaten": (eats_the_list, "changed the list"),
    "three channels again behind a pooling": (resets_at_pool, "went out last"),
    "no poolings": (compares_with_int, "should be a max pooling"),
    "one convolution per block": (one_per_pool, "should be a convolution"),
    "fixed list": (lambda numbers: features([64, 64, "M", 128, 128, "M"]), "should be|channels where the list says"),
    "flattened": (lambda numbers: nn.Sequential(*features(numbers), nn.Flatten()), "layers"),
    "last pooling forgotten": (lambda numbers: features(numbers)[:-1], "layers"),
    "one more relu": (lambda numbers: nn.Sequential(*features(numbers), nn.ReLU()), "layers"),
    "grey images": (built(first=1), "3 at first"),
    "inside a class": (Wrapped, "row inside"),
    "depth-wise": (built(conv=lambda i, o, **words: nn.Conv2d(o, o, **words)), "went out last"),
    "transposed": (built(conv=nn.ConvTranspose2d), "should be a convolution|no ReLU"),
    "string compared": (lambda numbers: features([n for n in numbers if n is not None] + ["M"]), "layers"),
    "conv called with M": (
        lambda numbers: nn.Sequential(*(nn.Conv2d(3, n, 3) for n in numbers)),
        "your code stopped",
    ),
}  # fmt: skip


def features_in_place(numbers):
    row, channels = nn.Sequential(), 3
    for number in numbers:
        if isinstance(number, str):
            row.append(nn.MaxPool2d(kernel_size=2, stride=2))
        else:
            row.extend([nn.Conv2d(channels, number, kernel_size=(3, 3), padding="same"), nn.ReLU(inplace=True)])
            channels = number
    return row


def features_by_dict(numbers):
    layers = list(features(numbers))
    return nn.Sequential(OrderedDict((str(i), layer) for i, layer in enumerate(layers)))


# --------------------------------------------------------------------------------------------------- exercise 2
def insert(row, make, gap="before", **_):
    """The solution; `gap` moves the module."""
    channels = 3
    for index, layer in enumerate(row):
        if isinstance(layer, nn.Conv2d):
            channels = layer.out_channels
        elif isinstance(layer, nn.MaxPool2d):
            module = make(channels)
            row[index] = nn.Sequential(module, layer) if gap == "before" else nn.Sequential(layer, module)
    return row


def longer_row(row, make):
    layers, channels = [], 3
    for layer in row:
        channels = getattr(layer, "out_channels", channels)
        if isinstance(layer, nn.MaxPool2d):
            layers.append(make(channels))
        layers.append(layer)
    return nn.Sequential(*layers)


def list_insert(row, make):
    layers = list(row)
    pools = [i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    for shift, i in enumerate(pools):
        layers.insert(i + shift, make(layers[i + shift - 2].out_channels))
    return nn.Sequential(*layers)


class Slots(nn.Module):
    """As the course's VGG does it, but with the old row under a name of its own."""

    def __init__(self, row, make):
        super().__init__()
        self.features = row
        self.attention = nn.ModuleDict()
        channels = 3
        for i, layer in enumerate(row):
            channels = getattr(layer, "out_channels", channels)
            if isinstance(layer, nn.MaxPool2d):
                self.attention[str(i)] = make(channels)

    def forward(self, x):
        for i, layer in enumerate(self.features):
            if str(i) in self.attention:
                x = self.attention[str(i)](x)
            x = layer(x)
        return x


class Inherits(nn.Sequential):
    """A right one: the layers keep their names, the modules have a dictionary, which no row walks through."""

    def __init__(self, row, make):
        super().__init__(*row)
        modules, channels = {}, 3
        for i, layer in enumerate(row):
            channels = getattr(layer, "out_channels", channels)
            if isinstance(layer, nn.MaxPool2d):
                modules[str(i)] = make(channels)
        self.count = len(row)
        self.attention = nn.ModuleDict(modules)

    def forward(self, x):
        for i in range(self.count):
            if str(i) in self.attention:
                x = self.attention[str(i)](x)
            x = self[i](x)
        return x


class Hidden(Inherits):
    def __init__(self, row, make):
        super().__init__(row, make)
        kept = dict(self.attention.items())
        del self.attention
        self.__dict__["attention"] = kept


class Unused(Inherits):
    def forward(self, x):
        for i in range(self.count):
            x = self[i](x)
        return x


class Twice(Inherits):
    def forward(self, x):
        for i in range(self.count):
            if str(i) in self.attention:
                x = self.attention[str(i)](self.attention[str(i)](x))
            x = self[i](x)
        return x


class Residual(Inherits):
    def forward(self, x):
        for i in range(self.count):
            if str(i) in self.attention:
                x = x + self.attention[str(i)](x)
            x = self[i](x)
        return x


class NoGrad(Inherits):
    def forward(self, x):
        with torch.no_grad():
            return super().forward(x)


def before_relu(row, make):
    for i, layer in enumerate(row):
        if isinstance(layer, nn.MaxPool2d):
            row[i - 1] = nn.Sequential(make(row[i - 2].out_channels), row[i - 1])
    return row


def behind_relu(row, make):
    """Right: the module shares the number of the ReLU."""
    for i, layer in enumerate(row):
        if isinstance(layer, nn.MaxPool2d):
            row[i - 1] = nn.Sequential(row[i - 1], make(row[i - 2].out_channels))
    return row


def by_hooks(row, make):
    """Right: a hook on the pooling, which owns the module."""
    for i, layer in enumerate(row):
        if isinstance(layer, nn.MaxPool2d):
            layer.attention = make(row[i - 2].out_channels)
            layer.register_forward_pre_hook(lambda pool, inputs: (pool.attention(inputs[0]),))
    return row


def on_a_copy(row, make):
    return insert(copy.deepcopy(row), make)


def behind_every_relu(row, make):
    channels = 3
    for i, layer in enumerate(row):
        channels = getattr(layer, "out_channels", channels)
        if isinstance(layer, nn.ReLU):
            row[i] = nn.Sequential(layer, make(channels))
    return row


def in_place_of_pool(row, make):
    for i, layer in enumerate(row):
        if isinstance(layer, nn.MaxPool2d):
            row[i] = make(row[i - 2].out_channels)
    return row


def one_for_all(row, make):
    module = make(row[0].out_channels)
    for i, layer in enumerate(row):
        if isinstance(layer, nn.MaxPool2d):
            row[i] = nn.Sequential(module, layer)
    return row


def three_channels(row, make):
    for i, layer in enumerate(row):
        if isinstance(layer, nn.MaxPool2d):
            row[i] = nn.Sequential(make(3), layer)
    return row


def inputs_of_conv(row, make):
    channels = 3
    for i, layer in enumerate(row):
        if isinstance(layer, nn.Conv2d):
            channels = layer.in_channels
        elif isinstance(layer, nn.MaxPool2d):
            row[i] = nn.Sequential(make(channels), layer)
    return row


def last_only(row, make):
    i = max(i for i, layer in enumerate(row) if isinstance(layer, nn.MaxPool2d))
    row[i] = nn.Sequential(make(row[i - 2].out_channels), row[i])
    return row


def at_the_end(row, make):
    channels = [layer.out_channels for layer in row if isinstance(layer, nn.Conv2d)]
    return row.append(make(channels[-1]))


def wraps_convs(row, make):
    for i, layer in enumerate(row):
        if isinstance(layer, nn.MaxPool2d):
            conv = row[i - 2]
            row[i - 2] = nn.Sequential(conv, make(conv.out_channels))
    return row


def new_layers(row, make):
    fresh = [
        nn.Conv2d(one.in_channels, one.out_channels, 3, padding=1) if isinstance(one, nn.Conv2d) else one for one in row
    ]
    return insert(nn.Sequential(*fresh), make)


def renamed_blocks(row, make):
    blocks, now = [], []
    for layer in row:
        now.append(layer)
        if isinstance(layer, nn.MaxPool2d):
            channels = [one.out_channels for one in now if isinstance(one, nn.Conv2d)][-1]
            blocks.append(nn.Sequential(*now[:-1], make(channels), now[-1]))
            now = []
    return nn.Sequential(*blocks)


def reversed_modules(row, make):
    pools = [i for i, layer in enumerate(row) if isinstance(layer, nn.MaxPool2d)]
    for i in reversed(pools):
        row[i] = nn.Sequential(make(row[i - 2].out_channels), row[i])
    return row


WRONG_INSERTIONS = {
    "a longer row": (longer_row, "moved on by one number"),
    "inserted into a list": (list_insert, "moved on by one number"),
    "wrapped in a class": (Slots, "names got longer"),
    "Sequential of the row": (lambda row, make: nn.Sequential(insert(row, make)), "names got longer"),
    "blocks": (renamed_blocks, "row of its own|moved on"),
    "behind the pooling": (lambda row, make: insert(row, make, gap="behind"), "after the pooling"),
    "before the relu": (before_relu, "before the ReLU"),
    "around the convolution": (wraps_convs, "leave layers with weights alone"),
    "behind every relu": (behind_every_relu, "each pooling gets one"),
    "in the pooling's position": (in_place_of_pool, "left out"),
    "one for all": (one_for_all, "number of channels"),
    "three channels": (three_channels, "number of channels"),
    "channels that go in": (inputs_of_conv, "number of channels"),
    "last block only": (last_only, "1 module(s) for 2"),
    "at the end": (at_the_end, "1 module(s) for 2"),
    "hidden in a dict": (Hidden, "hides them"),
    "never called": (Unused, "nobody calls"),
    "called twice": (Twice, "called twice"),
    "added": (Residual, "added"),
    "no gradient": (NoGrad, "no gradient"),
    "new layers": (new_layers, "weights are new"),
    "None": (lambda row, make: insert(row, make) and None, "None"),
    "a list": (lambda row, make: list(insert(row, make)), "it should be a module"),
    "make itself": (lambda row, make: insert(row, lambda channels: nn.Identity()), "never called"),
    "unchanged": (lambda row, make: row, "never called"),
    "make without channels": (lambda row, make: insert(row, lambda channels: make()), "your code stopped"),
    "made but thrown away": (
        lambda row, make: ([make(c.out_channels) for c in row if isinstance(c, nn.Conv2d)], row)[1],
        "hides them|each pooling gets one|nobody calls",
    ),
}  # fmt: skip


# --------------------------------------------------------------------------------------------------- exercise 3
KINDS = nn.Linear, nn.Conv1d, nn.Conv2d


def kaiming(layer, kinds=KINDS, weight=None, bias=nn.init.zeros_):
    if isinstance(layer, kinds):
        (weight or (lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu")))(layer.weight)
        if layer.bias is not None and bias is not None:
            bias(layer.bias)


def start(model, **options):
    for layer in model.attention.modules():
        kaiming(layer, **options)


def by(**options):
    return lambda model: start(model, **options)


def by_name(model):
    """Right: looks for the names with attention in them."""
    norms = {n for n, m in model.named_modules() if not isinstance(m, KINDS)}
    for name, p in model.named_parameters():
        if ".attention." in name and name.rsplit(".", 1)[0] not in norms:
            if name.endswith("weight"):
                nn.init.kaiming_normal_(p, nonlinearity="relu")
            else:
                p.data.zero_()


def by_formula(model):
    """Right: without nn.init."""
    with torch.no_grad():
        for layer in model.attention.modules():
            if isinstance(layer, KINDS):
                layer.weight.copy_(torch.randn_like(layer.weight) * (2 / layer.weight[0].numel()) ** 0.5)
                if layer.bias is not None:
                    layer.bias.fill_(0)
    return model


def every_parameter(model):
    for p in model.attention.parameters():
        if p.dim() > 1:
            nn.init.kaiming_normal_(p, nonlinearity="relu")
        else:
            nn.init.zeros_(p)


def by_reset(model):
    for layer in model.attention.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()


def frozen(model):
    start(model)
    for p in model.features.parameters():
        p.requires_grad = False


def trains(model):
    start(model)
    model.train()


def not_recursive(model):
    for layer in model.attention.children():
        kaiming(layer)


def replaced(model):
    model.attention = nn.ModuleDict({name: nn.Linear(3, 3) for name in model.attention})


def also_classifier(model):
    start(model)
    model.classifier.apply(kaiming)


def also_scale(model):
    start(model)
    for name, p in model.named_parameters():
        if name.endswith("scale"):
            p.data.fill_(1.0)


def ones_for_norms(model):
    start(model)
    for layer in model.attention.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.GroupNorm):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)


def without_none(model):
    for layer in model.attention.modules():
        if isinstance(layer, KINDS):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)


def uniform(w):
    nn.init.kaiming_uniform_(w, nonlinearity="relu")


WRONG_STARTS = {
    "apply": (lambda model: model.apply(kaiming), "outside the attention"),
    "apply to linear layers": (lambda model: model.apply(lambda m: kaiming(m, nn.Linear)), "outside the attention"),
    "modules of the model": (lambda model: [kaiming(m) for m in model.modules()][:0], "outside the attention"),
    "the features": (lambda model: model.features.apply(kaiming), "outside the attention"),
    "the classifier too": (also_classifier, "outside the attention"),
    "all parameters": (every_parameter, "norm"),
    "linear only": (by(kinds=nn.Linear), "what they were"),
    "no Conv1d": (by(kinds=(nn.Linear, nn.Conv2d)), "Conv1d"),
    "convolutions only": (by(kinds=(nn.Conv1d, nn.Conv2d)), "Linear"),
    "children only": (not_recursive, "nothing has changed"),
    "a copy": (lambda model: start(copy.deepcopy(model)), "nothing has changed"),
    "nothing": (lambda model: None, "nothing has changed"),
    "not in place": (by(weight=lambda w: torch.randn_like(w), bias=None), "nothing has changed"),
    "uniform": (by(weight=uniform), "uniform"),
    "xavier": (by(weight=nn.init.xavier_normal_), "Xavier"),
    "xavier uniform": (by(weight=nn.init.xavier_uniform_), "Xavier"),
    "fan out": (by(weight=lambda w: nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu")), "fan_out"),
    "gain of 1": (by(weight=lambda w: nn.init.kaiming_normal_(w, nonlinearity="linear")), "without the 2"),
    "PyTorch's own": (by_reset, "norm|reset_parameters"),
    "PyTorch's own, by hand": (by(weight=lambda w: nn.init.kaiming_uniform_(w, a=5**0.5)), "reset_parameters"),
    "small numbers": (by(weight=lambda w: nn.init.normal_(w, 0, 0.01)), "standard deviation"),
    "standard normal": (by(weight=nn.init.normal_), "standard deviation"),
    "zeros": (by(weight=nn.init.zeros_), "are equal"),
    "ones": (by(weight=nn.init.ones_), "are equal"),
    "biases forgotten": (by(bias=None), "bias"),
    "biases of one": (by(bias=nn.init.ones_), "bias"),
    "bias of None": (without_none, "your code stopped"),
    "norms too": (ones_for_norms, "norm"),
    "the factor of the start": (also_scale, "identity"),
    "frozen": (frozen, "requires_grad"),
    "training mode": (trains, "mode"),
    "new modules": (replaced, "names"),
    "kaiming of a norm": (
        lambda model: [nn.init.kaiming_normal_(p) for p in model.attention.parameters()][:0],
        "your code stopped",
    ),
}  # fmt: skip


EXERCISES = {
    "features": (check.check_vgg_features, [features, features_in_place, features_by_dict], WRONG_FEATURES),
    "insertion": (
        check.check_with_attention,
        [insert, Inherits, behind_relu, by_hooks, on_a_copy],
        WRONG_INSERTIONS,
    ),
    "start": (
        check.check_initialise_attention,
        [start, by_name, by_formula, lambda model: model.attention.apply(kaiming)],
        WRONG_STARTS,
    ),
}  # fmt: skip
