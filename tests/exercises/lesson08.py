"""Answers to the exercises of lesson 08; what the names mean is said in __init__.py."""

import copy
import functools

import torch
from torch import nn

from attn_lessons import check
from attn_lessons.check.steps_vgg import FILL, INSERTED, RESULT, WEIGHTS, filled, inserted


# --------------------------------------------------------------------------------------------------- exercise 3
def features(numbers, pair=lambda *two: two, conv=nn.Conv2d, pool=lambda: nn.MaxPool2d(2), **options):
    """The solution, with its parts to be replaced."""
    layers, last = [], 3
    for n in numbers:
        layers += [pool()] if n == "M" else pair(conv(last, n, **{"kernel_size": 3, "padding": 1} | options), nn.ReLU())
        last = last if n == "M" else n
    return nn.Sequential(*layers)


def built(**options):
    return lambda numbers: features(numbers, **options)


def features_in_place(numbers):
    """Right: one pooling serves everywhere; it has no weights."""
    row, channels, pool = nn.Sequential(), 3, nn.MaxPool2d(kernel_size=2, stride=2)
    for number in numbers:
        if isinstance(number, str):
            row.append(pool)
        else:
            row.extend([nn.Conv2d(channels, number, kernel_size=(3, 3), padding="same"), nn.ReLU(inplace=True)])
            channels = number
    return row


def seeded(make):
    return lambda *sizes, **options: (torch.manual_seed(0), make(*sizes, **options))[1]


WRONG_FEATURES = {
    "a list": (lambda numbers: list(features(numbers)), "makes a row"),
    "always three channels": (built(conv=lambda last, n, **words: nn.Conv2d(3, n, **words)), "went out last"),
    "one way for the other": (built(conv=lambda last, n, **words: nn.Conv2d(n, last, **words)), "stands before it"),
    "relu first": (built(pair=lambda conv, relu: (relu, conv)), "should be a convolution"),
    "no padding": (built(padding=0), "keeps height and width"),
    "no bias": (built(bias=False), "no bias"),
    "padding by reflection": (built(padding_mode="reflect"), "as PyTorch has it"),
    "rows inside the row": (built(pair=lambda *two: [nn.Sequential(*two)]), "in a single row"),
    "list eaten": (lambda numbers: (features(numbers), numbers.pop())[0], "changed the list"),
    "default": (lambda numbers, row=[]: row.extend(features(numbers)) or nn.Sequential(*row), "second call"),
    "a seed in the loop": (built(conv=seeded(nn.Conv2d)), "same weights"),
    "last layer forgotten": (lambda numbers: features(numbers)[:-1], "yours is nothing"),
    "flattened": (lambda numbers: features(numbers).append(nn.Flatten()), "should be nothing"),
    "evaluation mode": (lambda numbers: features(numbers).eval(), "mode"),
}  # fmt: skip


# --------------------------------------------------------------------------------------------------- exercise 1
def slots(row):
    """Index of each pooling → the channels that come there."""
    return {i: row[i - 2].out_channels for i, layer in enumerate(row) if isinstance(layer, nn.MaxPool2d)}


def put(row, make, wrap=nn.Sequential, at=0, only=slice(None)):
    """The solution; `wrap` says what stands in the position of a pooling, or `at` some layers from it."""
    for i, channels in list(slots(row).items())[only]:
        row[i + at] = wrap(make(channels), row[i + at])
    return row


def insert(row, make):
    return put(row, make)


def after(at):
    return functools.partial(put, wrap=lambda module, layer: nn.Sequential(layer, module), at=at)


class Inherits(nn.Sequential):
    """Right: the layers keep their names, the modules have a dictionary, which no row walks through."""

    def __init__(self, row, make):
        super().__init__(*row)
        self.count = len(row)
        self.attention = nn.ModuleDict({str(i): make(channels) for i, channels in slots(row).items()})

    def forward(self, x):
        return self.block(x, nn.Sequential(*list(self)[: self.count]), self.attention.values())

    block = staticmethod(inserted)


def by_step(**steps):
    return type("Net", (Inherits,), {"block": staticmethod(functools.partial(inserted, **steps))})


def hooked(row, make, late=False):
    """Right, unless it is `late`: a closure reads its variable when it is called, which is then the last module."""
    for i, channels in slots(row).items():
        row[i].attention = module = make(channels)
        row[i].register_forward_pre_hook(lambda pool, inputs: ((module if late else pool.attention)(inputs[0]),))  # noqa: B023
    return row


WRONG_INSERTIONS = {  # beside those of the tables
    "a longer row": (lambda row, make: put(row, make, only=slice(1)).insert(0, make(5)), "moved on"),
    "Sequential of the row": (lambda row, make: nn.Sequential(put(row, make)), "names got longer"),
    "around the convolution": (after(-2), "leave layers with weights alone"),
    "one per width": (lambda row, make: put(row, functools.cache(make)), "[5] channels, and [5, 5]"),
    "last block only": (functools.partial(put, only=slice(-1, None)), "[5] channels"),
    "never called": (lambda row, make: put(row, make, wrap=lambda module, pool: pool.append(module)), "never called"),
    "late binding": (functools.partial(hooked, late=True), "loop's last values"),
    "evaluation mode": (lambda row, make: put(row, make).eval(), "mode"),
    "frozen": (lambda row, make: put(row.requires_grad_(False), make), "requires_grad"),
    "new layers": (lambda row, make: put(features([7, 5, "M", 6, 5, "M"]), make), "new weights"),
    "None": (lambda row, make: put(row, make) and None, "return the network"),
}  # fmt: skip


# --------------------------------------------------------------------------------------------------- exercise 2
KINDS = nn.Linear, nn.Conv1d, nn.Conv2d


@torch.no_grad()
def kaiming(layer, kinds=KINDS, bias=nn.init.zeros_, fill=filled):
    if isinstance(layer, kinds):
        layer.weight.copy_(fill(layer.weight.clone()))
        if layer.bias is not None and bias:
            bias(layer.bias)


def start(model):
    """Right: looks for the names with attention in them, and takes PyTorch's own function."""
    for name, p in model.named_parameters():
        layer = model.get_submodule(name.rpartition(".")[0])
        if ".attention." in name and isinstance(layer, KINDS):
            nn.init.kaiming_normal_(p) if p.dim() > 1 else p.data.zero_()


def by(**options):
    return lambda model: [kaiming(layer, **options) for layer in model.attention.modules()]


def layers_of(model):
    return [layer for layer in model.attention.modules() if isinstance(layer, KINDS)]


def clones(model):
    for layer in layers_of(model):
        nn.init.kaiming_normal_(layer.weight.detach().clone())


WRONG_STARTS = {  # beside those of the table
    "apply": (lambda model: model.apply(kaiming), "outside the attention"),
    "linear only": (by(kinds=nn.Linear), "all of their kind"),
    "no rows inside": (lambda model: [kaiming(x) for one in model.attention.values() for x in one.children()], "sit"),
    "one block": (lambda model: model.attention["block5"].apply(kaiming), "visit every layer"),
    "a return": (lambda model: [kaiming(layer) for layer in layers_of(model)[:3]], "after block4.along"),
    "clones": (clones, "fill a copy"),
    "nothing": (lambda model: None, "in place"),
    "a seed in the loop": (lambda model: [seeded(kaiming)(layer) for layer in layers_of(model)], "same weights"),
    "small numbers": (by(fill=lambda w: w.normal_(0, 0.03)), "standard deviation"),
    "biases forgotten": (by(bias=None), "bias"),
    "bias of None": (lambda model: [nn.init.zeros_(layer.bias) for layer in layers_of(model)], "theirs is None"),
    "norms too": (lambda model: [p.data.zero_() for p in model.attention.parameters() if p.dim() < 2], "norm"),
    "frozen": (lambda model: (start(model), model.features.requires_grad_(False)), "requires_grad"),
    "single precision": (lambda model: (start(model), model.attention.float()), "another type"),
    "new modules": (lambda model: setattr(model, "attention", nn.ModuleDict({"block5": nn.Linear(3, 3)})), "names"),
    "all": (lambda model: [nn.init.kaiming_normal_(p) for p in model.parameters()], "single row"),
}  # fmt: skip


EXERCISES = {
    "features": (check.check_vgg_features, [features, features_in_place], WRONG_FEATURES),
    "insertion": (
        check.check_with_attention,
        [insert, Inherits, after(-1), hooked, lambda row, make: copy.deepcopy(insert(row, make))],
        WRONG_INSERTIONS,
    ),
    "start": (check.check_initialise_attention, [start, by()], WRONG_STARTS),
}
TABLES = {
    "insertion": (by_step, INSERTED, inserted, RESULT),
    "start": (lambda fill: by(fill=fill), {"fill": FILL}, filled, WEIGHTS),
}
