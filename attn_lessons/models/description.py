"""A network from words: what the header of a weights file says of it is enough to build it again."""

from collections.abc import Iterable

from torch import nn

from ..datasets.augment import MEAN, STD
from .attachment import attach
from .glyph_net import GlyphNet
from .small_cnn import SmallCNN
from .vgg import VGG

KINDS = {kind.__name__: kind for kind in (GlyphNet, SmallCNN, VGG)}


def build_network(network: str, arguments: dict[str, object], attached: Iterable[dict] = ()) -> nn.Module:
    """Build a network, and keep in its attribute ``about`` how: weights that are saved take it along.

    Parameters
    ----------
    network : str
        "GlyphNet", "SmallCNN" or "VGG", or a name that `torchvision.models.get_model` knows.
    arguments : dict
        Its arguments, ``num_classes`` for example.
    attached : iterable of dict
        The arguments of calls of `attach`: ``mechanism``, ``after``, ``start``, ``image``, and options.

    Examples
    --------
    >>> place = {"mechanism": "se", "after": ["layer4"], "start": "identity", "image": [3, 64, 64]}
    >>> model = build_network("resnet18", {"num_classes": 5}, [place])
    >>> model.about["network"], model.about["attached"][0]["after"]
    ('resnet18', ['layer4'])
    """
    if network in KINDS:
        model = KINDS[network](**arguments)
    else:
        from torchvision.models import get_model  # takes as long to import as torch

        model = get_model(network, weights=None, **arguments)
    model.about = {"network": network, "arguments": arguments}
    for place in attached:
        attach(model, **place | {"image": tuple(place["image"])})
    if attached:
        model.about["attached"] = list(attached)
    return model


def normalisation(model: nn.Module | None) -> tuple:
    """Mean and standard deviation, in levels from 0 to 1, that this network wants images to have."""
    about = getattr(model, "about", {})
    return about.get("mean", MEAN), about.get("std", STD)
