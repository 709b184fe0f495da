"""Small networks that the course trained itself, with how they were trained in the header of their file.

Introduced in lesson 10.
"""

from __future__ import annotations

import json

from safetensors import safe_open
from torch import nn

from ..results import find
from .glyph_net import GlyphNet
from .small_cnn import SmallCNN
from .vgg import VGG

KINDS = {"GlyphNet": GlyphNet, "SmallCNN": SmallCNN, "VGG": VGG}


def trained(name: str) -> tuple[nn.Module, dict]:
    """A network of ``results/networks``, in evaluation mode.

    Parameters
    ----------
    name : str
        "glyphworld_key_cbam", for example.

    Returns
    -------
    (nn.Module, dict)
        The network, and its file's header: ``network`` and ``arguments`` that built it, ``classes``, ``pictures``,
        ``test_accuracy`` (last epoch, 0 to 1), ``command``, ``recipe``, ``versions``, ``hardware``, ``date``.

    Raises
    ------
    FileNotFoundError
        If there is no such network; those that exist are named.
    """
    with safe_open(find("trained network", "networks/*.safetensors", name), "pt") as file:
        about = json.loads(file.metadata()["about"])
        weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    network = KINDS[about["network"]](**about["arguments"])
    network.load_state_dict(weights)
    return network.eval(), about
