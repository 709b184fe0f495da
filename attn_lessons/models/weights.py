"""Weights from files: those that fit a network of yours, and the small networks that the course trained itself.

`load_matching` is introduced in lesson 08, `trained` in lesson 10.
"""

import json
from collections.abc import Iterable, Mapping

import torch
from safetensors import safe_open
from torch import nn

from ..results import find
from .glyph_net import GlyphNet
from .small_cnn import SmallCNN
from .vgg import VGG

KINDS = {kind.__name__: kind for kind in (GlyphNet, SmallCNN, VGG)}
MOST = 2 / 3  # of the weights in a file have to fit
WRAPPINGS = ("state_dict", "model")  # what training scripts save the weights under
PREFIXES = ("module.", "_orig_mod.", "model.")  # what DataParallel, torch.compile and Lightning put before every name


def load_matching(
    model: nn.Module, weights: Mapping[str, torch.Tensor], allow_partial: bool = False
) -> dict[str, list[str]]:
    """Load what fits by name and shape, and list the rest.

    Parameters
    ----------
    model : nn.Module
    weights : dict
        A state dict: torchvision's ``VGG16_Weights.DEFAULT.get_state_dict()``, for example. It may be wrapped as
        ``{"state_dict": …}`` or ``{"model": …}``, and all its names may start with "module.", "_orig_mod." or "model.".
    allow_partial : bool, default False
        Load even if less than two thirds of the weights fit. With a new classifier, or new attention, most of them do;
        if not, the layers are probably named or numbered differently, and what fits may be the wrong layers' weights.

    Returns
    -------
    dict
        "loaded"; "of another shape" (a classifier for other classes); "only in the network" (the attention); "only in
        the weights". Lists of names. If something was unwrapped, "unwrapped" lists what.

    Raises
    ------
    ValueError
        If nothing fits at all, or, without `allow_partial`, less than two thirds of the weights do. Batch norm's
        counters, which fit any network, are no weights. The model is left as it was.

    Examples
    --------
    >>> trained = VGG(11, num_classes=10, head="cifar").state_dict()
    >>> report = load_matching(VGG(11, num_classes=7, head="cifar", attention="eca", blocks=[5]), trained)
    >>> report["of another shape"], report["only in the network"]
    (['classifier.0.weight', 'classifier.0.bias'], ['features.19.attention.conv.weight'])
    """
    own = model.state_dict()
    weights, unwrapped = unwrap(weights, own)
    shared = [name for name in weights if name in own]
    fits = {name: weights[name] for name in shared if weights[name].shape == own[name].shape}
    fitting, given = (sum(tensor.dim() > 0 for tensor in some.values()) for some in (fits, weights))
    report = {"loaded": list(fits), "of another shape": [name for name in shared if name not in fits]}
    report["only in the network"] = [name for name in own if name not in weights]
    report["only in the weights"] = [name for name in weights if name not in own]
    if not fitting:
        raise ValueError("No weight has the name and shape of one in this network: are they another network's?")
    if fitting < MOST * given and not allow_partial:
        names = ", ".join(f"{some[0]!r} {what}" for what, some in report.items() if some and what != "loaded")
        raise ValueError(f"Only {fitting} of {given} weights fit ({names}): rename them, or say allow_partial=True.")
    model.load_state_dict(fits, strict=False)
    return report | ({"unwrapped": unwrapped} if unwrapped else {})


def unwrap(weights: Mapping, own: Iterable[str]) -> tuple[Mapping[str, torch.Tensor], list[str]]:
    """The tensors under the names that a network whose names are `own` may know, and what was taken off."""
    found = []
    while inside := [key for key in WRAPPINGS if isinstance(weights.get(key), Mapping)]:
        weights = weights[inside[0]]
        found.append(inside[0])
    weights = {name: tensor for name, tensor in weights.items() if isinstance(tensor, torch.Tensor)}
    for prefix in PREFIXES * 2:  # two of them may follow each other, in either order
        if weights and all(name.startswith(prefix) for name in weights) and not any(n.startswith(prefix) for n in own):
            weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
            found.append(prefix)
    return weights, found


def trained(name: str) -> tuple[nn.Module, dict]:
    """A network of ``results/networks``, in evaluation mode.

    Parameters
    ----------
    name : str
        "glyphworld_key_cbam", for example.

    Returns
    -------
    (nn.Module, dict)
        The network, and its file's header: ``network`` and ``arguments`` that built it, ``classes``, ``dataset``,
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
