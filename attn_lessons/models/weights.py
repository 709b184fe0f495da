"""Weights from files: those that fit a network of yours, and trained networks, which their files describe.

`load_matching` is introduced in lesson 08, `trained` in lesson 10.
"""

import json
import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from ..results import find
from .description import build_network

MOST = 2 / 3  # of the weights in a file have to fit
WRAPPINGS = ("state_dict", "model")  # what training scripts save the weights under
PREFIXES = ("module.", "_orig_mod.", "model.")  # what DataParallel, torch.compile and Lightning put before every name
BEST, LAST = "best.safetensors", "last.safetensors"  # of the folder of a run


def load_matching(
    model: nn.Module, weights: Mapping[str, torch.Tensor] | str | os.PathLike, allow_partial: bool = False
) -> dict[str, list[str]]:
    """Load what fits by name and shape, and list the rest.

    Parameters
    ----------
    model : nn.Module
    weights : dict, path or torchvision's weights
        A state dict; it may be wrapped as ``{"state_dict": …}`` or ``{"model": …}``, and all its names may start with
        "module.", "_orig_mod." or "model.". Or where it comes from, and then the mean and standard deviation that the
        weights want of images travel along, in ``model.about``: a file, the folder of a run, or
        ``VGG16_Weights.DEFAULT``.
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
    >>> from attn_lessons.models import VGG
    >>> trained = VGG(11, num_classes=10, head="cifar").state_dict()
    >>> report = load_matching(VGG(11, num_classes=7, head="cifar", attention="eca", blocks=[5]), trained)
    >>> report["of another shape"], report["only in the network"]
    (['classifier.0.weight', 'classifier.0.bias'], ['features.19.attention.conv.weight'])
    """
    own, about = model.state_dict(), {}
    if not isinstance(weights, Mapping):
        weights, about = weights_and_about(weights)
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
    if wanted := {name: about[name] for name in ("mean", "std") if name in about}:
        model.about = getattr(model, "about", {}) | wanted
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


def weights_and_about(source: object) -> tuple[Mapping[str, torch.Tensor], dict]:
    """The tensors of a weights file, the folder of a run, or torchvision's weights, and what is said about them."""
    if hasattr(source, "get_state_dict"):  # of torchvision
        wants = source.transforms()
        return fetched(source), {"mean": list(wants.mean), "std": list(wants.std)}
    path = Path(source)
    if path.is_dir():
        path = next((path / name for name in (BEST, LAST) if (path / name).exists()), None)
        if path is None:
            raise FileNotFoundError(f"{source} holds neither {BEST} nor {LAST}: has its run ended an epoch?")
    if not path.is_file():
        raise FileNotFoundError(f"there are no weights at {path}.")
    return read_safetensors(path) if path.suffix == ".safetensors" else (read_pickle(path), {})


def fetched(weights: object) -> Mapping[str, torch.Tensor]:
    try:
        return weights.get_state_dict(progress=False, check_hash=True)
    except OSError as error:
        where = Path(torch.hub.get_dir(), "checkpoints")
        raise OSError(f"{weights} cannot be fetched ({error}): put {weights.url} into {where}.") from error


def read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """Tensors and header, or one sentence if the file is damaged."""
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("about", "{}"))
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is damaged, or no safetensors file ({error}): take a copy of it.") from None
    if about.get("checksum", checksum(weights)) != checksum(weights):
        raise ValueError(f"{path} is damaged, its checksum is another: take a copy of it, or train again.")
    return weights, about


def read_pickle(path: Path) -> Mapping:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        why = str(error).partition("\n")[0]
        raise ValueError(f"{path} holds no weights that can be read ({why}): save a state dict.") from None


def checksum(weights: Mapping) -> int:
    """Of the bytes of all tensors, in the order of their names."""
    crc = 0
    for name in sorted(name for name, tensor in weights.items() if isinstance(tensor, torch.Tensor)):
        tensor = weights[name].detach().cpu().contiguous().reshape(-1)
        crc = zlib.crc32(tensor.view(torch.uint8).numpy(), zlib.crc32(name.encode(), crc))
    return crc


def trained(name: str | os.PathLike) -> tuple[nn.Module, dict]:
    """A trained network, in evaluation mode, from its file alone.

    Parameters
    ----------
    name : str or path
        The folder of a run (its best epoch by the validation set, if it had one, otherwise its last), a safetensors
        file of `fit` or ``train run``, or a name in ``results/networks``: "glyphworld_key_cbam", for example.

    Returns
    -------
    (nn.Module, dict)
        The network, and its file's header, which is also the network's attribute ``about``: ``network``, ``arguments``
        and ``attached`` that built it, ``classes``, ``size``, ``mean`` and ``std`` of its images, ``dataset``, the
        accuracies (0 to 1), ``command``, ``recipe``, ``versions``, ``hardware``, ``date``.

    Raises
    ------
    FileNotFoundError
        If there is no such network; those that exist are named.
    ValueError
        If the file is damaged, or does not say which network it belongs to.
    """
    is_path = os.path.exists(name) or Path(name).name != str(name) or Path(name).suffix
    path = Path(name) if is_path else find("trained network", "networks/*.safetensors", str(name))
    weights, about = weights_and_about(path)
    if not {"network", "arguments"} <= about.keys():
        raise ValueError(f"{path} does not say how its network is built: build it, and say load_matching(network, …).")
    network = build_network(about["network"], about["arguments"], about.get("attached", ()))
    network.load_state_dict(weights)
    network.about = about
    return network.eval(), about
