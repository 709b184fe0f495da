"""Does an explanation depend on what the network has learned? If not, it explains the image, not the network.

Adebayo et al.: Sanity Checks for Saliency Maps. NeurIPS 2018. https://arxiv.org/abs/1810.03292
Introduced in lesson 10.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

import pandas as pd
import torch
from torch import nn

from ..attention.base import reset
from ..measure import evaluation_mode
from ..models.slot_table import forward_calls
from .feature_maps import network_input
from .localise import must_be_finite

ALIKE, SAME = 0.5, 0.99  # from these rank correlations on, maps count as alike, and as the very same


@torch.no_grad()
def randomised(model: nn.Module, images: torch.Tensor) -> Iterator[tuple[str, nn.Module]]:
    """The network with its last layer as before training, then the last two, and so on down to the first.

    Parameters
    ----------
    model : nn.Module
        Is left as it was.
    images : torch.Tensor
        As for `attn_lessons.insight.features`; the first one shows in which order the layers run.

    Yields
    ------
    name, network : str, nn.Module
        The layer that has just been re-initialised, and a copy of the network. It is the same copy every time: be done
        with it before you ask for the next. A layer is a module with weights of its own; a network or mechanism with a
        ``reset_parameters`` decides how its layers start.

    Examples
    --------
    >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 4, 2))
    >>> [name for name, _ in randomised(network, torch.rand(1, 3, 4, 4))]
    ['3', '0']
    """
    twin, fresh = copy.deepcopy(model), copy.deepcopy(model)
    reset(fresh)
    with evaluation_mode(twin), forward_calls(twin) as calls:
        twin(network_input(twin, images[:1]))
    turns = {name: turn for turn, (name, _, _) in enumerate(calls)}  # the last, where a layer ran several times

    def turn(name: str) -> int:
        """Of a layer whose weights are used without calling it: that of what holds it."""
        return turns[name] if name in turns else turn(name.rpartition(".")[0])

    names = [name for name, part in twin.named_modules() if list(part.parameters(recurse=False))]
    for name in sorted(reversed(names), key=turn, reverse=True):
        layer, start = twin.get_submodule(name), fresh.get_submodule(name).state_dict()
        for key, values in chain(layer.named_parameters(recurse=False), layer.named_buffers(recurse=False)):
            if hasattr(layer, "reset_parameters"):
                values.copy_(start[key])
            else:  # it does not say how its weights start: noise as large as they are
                values.copy_(torch.randn_like(values) * values.square().mean().sqrt())
        yield name, twin


def similarity(maps: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Spearman's rank correlation of each map with its counterpart, (n, h, w) twice → (n,).

    A map without any preference has no ranks: it is like another such map (1), and like no other (0).

    Examples
    --------
    >>> maps = torch.rand(2, 8, 8)
    >>> similarity(torch.cat([maps, maps]), torch.cat([maps.exp(), 1 - maps]))
    tensor([ 1.,  1., -1., -1.])
    """
    from scipy.stats import rankdata  # scipy.stats takes half as long to import as torch

    if maps.dim() != 3 or maps.shape != others.shape:
        raise ValueError(f"both must have shape (n, h, w); these have {tuple(maps.shape)} and {tuple(others.shape)}.")
    must_be_finite(maps), must_be_finite(others)
    a, b = (torch.from_numpy(rankdata(m.flatten(1).cpu().numpy(), axis=1)) for m in (maps, others))
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    sizes, constant = a.norm(dim=1) * b.norm(dim=1), ~(a.any(1) | b.any(1))
    return torch.where(sizes > 0, (a * b).sum(1) / sizes.clamp(min=1e-12), constant.double()).clamp(-1, 1).float()


def sanity_check(
    model: nn.Module,
    others: Iterable[tuple[str, nn.Module]],
    images: torch.Tensor,
    explain: Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor],
) -> pd.DataFrame:
    """How much the maps of a trained network are like those of networks that have not learned the same.

    Parameters
    ----------
    model : nn.Module
    others : iterable of (str, nn.Module)
        ``randomised(model, images)``, or ``[("shuffled labels", network)]`` with a network trained on shuffled labels.
    images : torch.Tensor
        As for `attn_lessons.insight.features`.
    explain : callable
        Called as ``explain(network, images, labels)``, gives maps (n, h, w): `attn_lessons.insight.cam.cam`, for
        example. The labels are the predictions of `model` for all networks, so that all maps explain the same class.

    Returns
    -------
    pandas.DataFrame
        One row a network: ``network``, its name, and ``similarity``, the mean over the images.
    """
    with torch.no_grad(), evaluation_mode(model):
        labels = model(network_input(model, images)).argmax(1).cpu()
    maps = explain(model, images, labels)
    rows = [(name, similarity(maps, explain(other, images, labels)).mean().item()) for name, other in others]
    return pd.DataFrame(rows, columns=["network", "similarity"])


def verdict(checked: pd.DataFrame) -> str:
    """What a `sanity_check` says, in one sentence.

    Sound maps are never the very same once anything learned is gone, and are not alike when all of it is: in the last
    row.

    Examples
    --------
    >>> verdict(pd.DataFrame({"network": ["head", "conv"], "similarity": [0.4, 0.03]}))
    'Passed: the maps depend on what was learned (rank correlation 0.03 without it).'
    >>> verdict(pd.DataFrame({"network": ["head", "conv"], "similarity": [1.0, 0.2]}))
    "Failed: the maps do not depend on the weights of 'head' (rank correlation 1.00)."
    >>> verdict(pd.DataFrame({"network": ["head", "conv"], "similarity": [0.8, 0.7]}))
    'Failed: the maps hardly depend on what was learned (rank correlation 0.70).'
    """
    same, last = checked[checked.similarity >= SAME], checked.similarity.iloc[-1]
    if len(same):
        name, value = same.iloc[-1]
        return f"Failed: the maps do not depend on the weights of {name!r} (rank correlation {value:.2f})."
    if abs(last) >= ALIKE:
        return f"Failed: the maps hardly depend on what was learned (rank correlation {last:.2f})."
    return f"Passed: the maps depend on what was learned (rank correlation {last:.2f} without it)."
