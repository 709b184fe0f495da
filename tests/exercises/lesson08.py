"""Answers to the exercises of lesson 08; what the names mean is said in __init__.py."""

import copy
import functools
from collections import OrderedDict

import torch
from torch import nn

from attn_lessons import check
from attn_lessons.check.lesson08 import BLOCK, FILL, inserted


# --------------------------------------------------------------------------------------------------- exercise 1
def features(numbers, relu=nn.ReLU, pool=lambda: nn.MaxPool2d(2), incoming=lambda last, n: last, pair=lambda *two: two,
             conv=nn.Conv2d, wrap=nn.Sequential, **options):  # fmt: skip
    """The solution, with its parts to be replaced."""
    layers, last = [], 3
    for n in numbers:
        if n == "M":
            layers.append(pool())
        else:
            layers += pair(conv(incoming(last, n), n, **{"kernel_size": 3, "padding": 1, **options}), relu())
            last = n
    return wrap(*layers)


def built(**options):
    return lambda numbers: features(numbers, **options)


def rearranged(change):
    """`change` of the list of right layers."""
    return lambda numbers: nn.Sequential(*change(list(features(numbers))))


def one_relu(numbers):
    """Right: one ReLU and one pooling serve everywhere; they have no weights."""
    relu, pool = nn.ReLU(), nn.MaxPool2d(2)
    return features(numbers, lambda: relu, lambda: pool)


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
    return nn.Sequential(OrderedDict((str(i), layer) for i, layer in enumerate(features(numbers))))


def remembered(numbers, made={}):  # noqa: B006
    """One convolution for all of equal width."""
    return features(numbers, conv=lambda i, o, **w: made.setdefault((len(numbers), i, o), nn.Conv2d(i, o, **w)))


def default_list(numbers, layers=[]):  # noqa: B006
    layers += features(numbers)
    return nn.Sequential(*layers)


def first_entry(numbers):
    for n in numbers:
        return nn.Sequential(*features([n]))


def seeded(i, o, **words):
    torch.manual_seed(0)
    return nn.Conv2d(i, o, **words)


WRONG_FEATURES = {
    "a list": (built(wrap=lambda *layers: list(layers)), "makes a row"),
    "a ModuleList": (built(wrap=lambda *layers: nn.ModuleList(layers)), "makes a row"),
    "inside a class": (lambda numbers: nn.ModuleDict({"body": features(numbers)}), "makes a row"),
    "None": (lambda numbers: None, "None"),
    "always three channels": (built(incoming=lambda last, n: 3), "went out last"),
    "its own channels": (built(incoming=lambda last, n: n), "went out last"),
    "grey images": (built(incoming=lambda last, n: 1 if last == 3 else last), "3 at first"),
    "one way for the other": (built(conv=lambda i, o, **words: nn.Conv2d(o, i, **words)), "stands before it"),
    "no relu": (rearranged(lambda row: [one for one in row if not isinstance(one, nn.ReLU)]), "should be a ReLU"),
    "one relu forgotten": (rearranged(lambda row: row[:4] + row[5:]), "should be a ReLU"),
    "relu first": (built(pair=lambda conv, relu: (relu, conv)), "should be a convolution"),
    "no padding": (built(padding=0), "keeps height and width"),
    "window of 5": (built(kernel_size=5, padding=2), "3 × 3 everywhere"),
    "steps of 2": (built(stride=2), "steps of 1"),
    "no bias": (built(bias=False), "no bias"),
    "padding by reflection": (built(padding_mode="reflect"), "padding by zeros"),
    "average pooling": (built(pool=lambda: nn.AvgPool2d(2)), "should be a max pooling"),
    "pooling of 3": (built(pool=lambda: nn.MaxPool2d(3)), "2 × 2"),
    "pooling in steps of 1": (built(pool=lambda: nn.MaxPool2d(2, 1)), "halve"),
    "pooling rounds up": (built(pool=lambda: nn.MaxPool2d(2, ceil_mode=True)), "odd number"),
    "gelu": (built(relu=nn.GELU), "should be a ReLU"),
    "rows inside the row": (built(pair=lambda *two: [nn.Sequential(*two)]), "row inside"),
    "batch norm": (built(pair=lambda conv, relu: (conv, nn.BatchNorm2d(conv.out_channels), relu)), "BatchNorm2d"),
    "list eaten": (lambda numbers: (features(numbers), numbers.pop())[0], "changed the list"),
    "default list": (default_list, "second call"),
    "layers remembered": (remembered, "same weights"),
    "a seed in the loop": (built(conv=seeded), "same weights"),
    "return in the loop": (first_entry, "inside your loop"),
    "no poolings": (lambda numbers: features([n for n in numbers if n != "M"]), "should be a max pooling"),
    "fixed list": (lambda numbers: features([64, 64, "M", 128, 128, "M"]), "should be|the list says"),
    "flattened": (rearranged(lambda row: [*row, nn.Flatten()]), "you have"),
    "last layer forgotten": (rearranged(lambda row: row[:-1]), "layers"),
    "one more relu": (rearranged(lambda row: [*row, nn.ReLU()]), "layers"),
    "frozen": (lambda numbers: features(numbers).requires_grad_(False), "requires_grad"),
    "evaluation mode": (lambda numbers: features(numbers).eval(), "mode"),
    "transposed": (built(conv=nn.ConvTranspose2d), "should be a convolution"),
    "conv called with M": (lambda numbers: nn.Sequential(*(nn.Conv2d(3, n, 3) for n in numbers)), "ask for it first"),
}  # fmt: skip


# --------------------------------------------------------------------------------------------------- exercise 2
def slots(row):
    """Index of each pooling → the channels that come there."""
    return {i: row[i - 2].out_channels for i, layer in enumerate(row) if isinstance(layer, nn.MaxPool2d)}


def put(row, make, place=lambda module, layer: nn.Sequential(module, layer), at=0, order=lambda indices: indices):
    """The solution; `place` says what stands in the position of a pooling, or `at` some layers from it."""
    for i in order(list(slots(row))):
        row[i + at] = place(make(row[i - 2].out_channels), row[i + at])
    return row


def after(layer):
    return lambda row, make: put(row, make, lambda module, old: nn.Sequential(old, module), layer)


def insert(row, make):
    return put(row, make)


def by_hooks(row, make):
    """Right: a hook on the pooling, which owns the module."""
    for i, channels in slots(row).items():
        row[i].attention = make(channels)
        row[i].register_forward_pre_hook(lambda pool, inputs: (pool.attention(inputs[0]),))
    return row


def reset(layer):
    if isinstance(layer, nn.Conv2d):
        layer.reset_parameters()


class Inherits(nn.Sequential):
    """Right: the layers keep their names, the modules have a dictionary, which no row walks through."""

    def __init__(self, row, make):
        super().__init__(*row)
        self.count = len(row)
        self.attention = nn.ModuleDict({str(i): make(channels) for i, channels in slots(row).items()})

    def forward(self, x):
        for i in range(self.count):
            x = self[i](self.attention[str(i)](x) if str(i) in self.attention else x)
        return x


class InAList(Inherits):
    def __init__(self, row, make):
        super().__init__(row, make)
        kept = dict(self.attention.items())
        del self.attention
        self.__dict__["attention"] = kept


def changed(forward):
    """A right network whose forward is another one; it is given the old one."""
    return type("Net", (Inherits,), {"forward": lambda net, x: forward(net, x, super(type(net), net).forward)})


def no_grad(net, x, forward):
    with torch.no_grad():
        return forward(x)


def late(row, make):
    """The last module serves everywhere: a closure reads its variable when it is called."""
    for i, channels in slots(row).items():
        row[i].attention = module = make(channels)
        row[i].register_forward_pre_hook(lambda pool, inputs: (module(inputs[0]),))  # noqa: B023
    return row


def longer_row(row, make):
    pools = slots(row)
    layers = [[make(pools[i]), layer] if i in pools else [layer] for i, layer in enumerate(row)]
    return nn.Sequential(*(one for part in layers for one in part))


def into_itself(row, make):
    for name, layer in row.named_children():
        if isinstance(layer, nn.MaxPool2d):
            row.add_module(f"attention{name}", make(row[int(name) - 2].out_channels))
    return row


def by_step(**steps):
    """A right network that computes with wrong steps of the check's own reference."""
    return changed(
        lambda net, x, _: inserted(x, nn.Sequential(*list(net)[: net.count]), net.attention.values(), **steps)
    )


WRONG_INSERTIONS = {  # beside those of the tables
    "a longer row": (longer_row, "moved on by one number"),
    "wrapped in a class": (lambda row, make: nn.ModuleDict({"features": put(row, make)}), "names got longer"),
    "Sequential of the row": (lambda row, make: nn.Sequential(put(row, make)), "names got longer"),
    "around the convolution": (after(-2), "leave layers with weights alone"),
    "one too many": (lambda row, make: (make(3), put(row, make))[1], "each gets one"),
    "one per width": (lambda row, make: put(row, functools.cache(make)), "1 module(s) for 3"),
    "a seed before each": (lambda row, make: put(row, lambda c: (torch.manual_seed(0), make(c))[1]), "same weights"),
    "late binding": (late, "its last values"),
    "three channels": (lambda row, make: put(row, lambda channels: make(3)), "number of channels"),
    "channels that go in": (lambda row, make: put(row, lambda channels: make(channels + 1)), "number of channels"),
    "last block only": (lambda row, make: put(row, make, order=lambda indices: indices[-1:]), "1 module(s) for 3"),
    "ends early": (lambda row, make: put(row, make)[:-2], "no longer the name"),
    "added while walking": (into_itself, "list(…)"),
    "hidden in a dict": (InAList, "hides them"),
    "no gradient": (changed(no_grad), "no gradient"),
    "half a gradient": (changed(lambda net, x, old: (old(x) + old(x.detach())) / 2), "part of the gradient"),
    "in training only": (changed(lambda net, x, forward: forward(x) * (1 + net.training)), "right, but the"),
    "evaluation mode": (lambda row, make: put(row, make).eval(), "mode"),
    "single precision": (changed(lambda net, x, forward: forward(x.to(net[0].weight.dtype)).float()), "float64"),
    "frozen": (lambda row, make: put(row.requires_grad_(False), make), "no gradient"),
    "new layers": (lambda row, make: put(row.apply(reset), make), "new weights"),
    "None": (lambda row, make: put(row, make) and None, "None"),
    "a list": (lambda row, make: list(put(row, make)), "it should be a module"),
    "make itself": (lambda row, make: put(row, lambda channels: nn.Identity()), "never called"),
    "unchanged": (lambda row, make: row, "never called"),
    "make without channels": (lambda row, make: put(row, lambda channels: make()), "your code stopped"),
    "thrown away": (lambda row, make: ([make(c) for c in slots(row).values()], row)[1], "put them in"),
}  # fmt: skip


# --------------------------------------------------------------------------------------------------- exercise 3
KINDS = nn.Linear, nn.Conv1d, nn.Conv2d


@torch.no_grad()
def kaiming(layer, kinds=KINDS, bias=nn.init.zeros_, fill=None):
    if isinstance(layer, kinds):
        if fill:
            layer.weight.copy_(fill(layer.weight.clone()))
        else:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None and bias:
            bias(layer.bias)


def start(model):
    model.attention.apply(kaiming)


def by(**options):
    return lambda model: [kaiming(layer, **options) for layer in model.attention.modules()]


def then(after):
    """The solution, and something more."""
    return lambda model: (start(model), after(model))


def by_name(model):
    """Right: looks for the names with attention in them."""
    for name, p in model.named_parameters():
        layer = model.get_submodule(name.rpartition(".")[0])
        if ".attention." in name and isinstance(layer, KINDS):
            nn.init.kaiming_normal_(p) if p.dim() > 1 else p.data.zero_()


def by_formula(model):
    """Right: without nn.init."""
    for layer in layers_of(model):
        layer.weight.data = torch.randn_like(layer.weight) * (2 / layer.weight[0].numel()) ** 0.5
        if layer.bias is not None:
            layer.bias.data *= 0


def children(model):
    for layer in model.attention.children():
        kaiming(layer)


def layers_of(model):
    return [layer for layer in model.attention.modules() if isinstance(layer, KINDS)]


def clones(model):
    for layer in layers_of(model):
        nn.init.kaiming_normal_(layer.weight.detach().clone())


def single(layer):
    if isinstance(layer, KINDS):
        layer.weight.data = torch.randn(layer.weight.shape) * (2 / layer.weight[0].numel()) ** 0.5


def set_all(*words):
    """Fill the parameters whose name ends so with 1."""
    return lambda model: [p.data.fill_(1) for n, p in model.named_parameters() if n.endswith(words)]


def seeded_start(layer):
    torch.manual_seed(0)
    kaiming(layer)


WRONG_STARTS = {  # beside those of the table
    "apply": (lambda model: model.apply(kaiming), "outside the attention"),
    "the classifier too": (then(lambda model: model.classifier.apply(kaiming)), "outside the attention"),
    "all parameters": (lambda model: [nn.init.kaiming_normal_(p) if p.dim() > 1 else nn.init.zeros_(p)
                                        for p in model.attention.parameters()], "belongs to no linear"),
    "linear only": (by(kinds=nn.Linear), "what they were"),
    "no Conv1d": (by(kinds=(nn.Linear, nn.Conv2d)), "along are what they were"),
    "children only": (children, "sit deeper"),
    "children of each": (lambda model: [kaiming(layer) for one in model.attention.values() for layer in one.children()],
                         "sits deeper"),
    "one block": (lambda model: model.attention["block5"].apply(kaiming), "what they were"),
    "clones": (clones, "fill a copy"),
    "a copy": (lambda model: start(copy.deepcopy(model)), "nothing has changed"),
    "nothing": (lambda model: None, "nothing has changed"),
    "a seed in the loop": (lambda model: model.attention.apply(seeded_start), "same weights"),
    "small numbers": (by(fill=lambda w: w.normal_(0, 0.02)), "standard deviation"),
    "biases forgotten": (by(bias=None), "bias"),
    "biases of one": (by(bias=nn.init.ones_), "bias"),
    "bias as a condition": (lambda model: [layer for layer in layers_of(model) if layer.bias], "ask for None"),
    "bias of None": (lambda model: [nn.init.zeros_(layer.bias) for layer in layers_of(model)], "theirs is None"),
    "norms too": (then(set_all("norm.weight")), "norm"),
    "the factor of the start": (then(set_all("scale")), "so it stays"),
    "a table": (then(set_all("table")), "belongs to no linear"),
    "frozen": (then(lambda model: model.features.requires_grad_(False)), "requires_grad"),
    "training mode": (then(lambda model: model.train()), "mode"),
    "gradients wiped": (then(lambda model: model.zero_grad()), "gradient"),
    "single precision": (then(lambda model: model.attention.apply(single)), "another type"),
    "new modules": (lambda model: setattr(model, "attention", nn.ModuleDict({"block5": nn.Linear(3, 3)})), "names"),
    "kaiming of a norm": (lambda model: [nn.init.kaiming_normal_(p) for p in model.attention.parameters()],
                          "single row of numbers"),
}  # fmt: skip


EXERCISES = {
    "features": (check.check_vgg_features, [features, one_relu, features_in_place, features_by_dict], WRONG_FEATURES),
    "insertion": (
        check.check_with_attention,
        [insert, Inherits, after(-1), by_hooks, lambda row, make: put(row, make, order=reversed),
         lambda row, make: put(copy.deepcopy(row), make)],
        WRONG_INSERTIONS,
    ),
    "start": (check.check_initialise_attention, [start, by(), by_name, by_formula], WRONG_STARTS),
}  # fmt: skip
TABLES = {"insertion": (by_step, {"block": BLOCK}), "start": (lambda fill: by(fill=fill), {"fill": FILL})}
