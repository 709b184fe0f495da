"""Why does attention not help here? Eight usual causes, each with a measurement.

Introduced in lesson 11.
"""

import copy
import math
import os
from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd
import torch
from torch import nn

from ..attention import watch
from ..datasets import ImageSet
from ..measure import evaluation_mode
from ..models.weights import unwrap, weights_and_about
from ..training.comparison import paired_difference
from .bypass import bypassed, hooked, mechanisms
from .feature_maps import network_input

BATCH_NORM = nn.modules.batchnorm._BatchNorm
GATES = ("gate", "map", "row_gate", "column_gate")  # what a mechanism that multiplies notes
MOVES = 1e-5  # a gate moves if its standard deviation over the images is larger: rounding stays below
SATURATED = 1e-3  # closer than this to 0 or 1, the gradient of a sigmoid is lost
FADED, FLAT = 0.3, 0.5  # part of the logits' spread that is left; a network with wider logits has found its scale
Z = 3  # McNemar's statistic from which on a difference of predictions counts
ALIKE = 0.5  # cosine: fine-tuned weights stay closer to those they started from, unrelated ones are near 0
LOADED = 0.9  # part of the file's weights; a new classifier may be missing
IDLE = 0.01  # relative change of the feature maps below which attention does nothing
SOON = 1000  # steps: weight decay that halves a parameter in fewer is too strong
ALL = 0.99  # part of the image's pixels


class Finding(NamedTuple):
    holds: str
    measured: str
    meaning: str


def diagnose(
    model: nn.Module,
    images: ImageSet,
    *,
    weights: Mapping[str, torch.Tensor] | str | os.PathLike | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    runs: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Test a network with attention for eight causes for which attention does not help.

    Parameters
    ----------
    model : nn.Module
        A network with attention, put in by `attn_lessons.models.attach` or as a mechanism of this course. It is left as
        it was.
    images : ImageSet
        A few hundred labelled images, best those of the validation set.
    weights : dict or path, optional
        The weights that were to be loaded, as for `attn_lessons.models.load_matching`.
    optimizer : torch.optim.Optimizer, optional
        The one that trains `model`.
    runs : pandas.DataFrame, optional
        Runs with and without attention: ``variant`` (the baseline comes first), ``seed``, ``accuracy``, as
        `attn_lessons.training.compare` gives them.

    Returns
    -------
    pandas.DataFrame
        A row per cause, its index. ``holds``: "yes", "no", or "not tested" where an optional argument or a mechanism is
        missing; ``measured``, the number behind it; ``meaning``, what it means and what to do, in a sentence.

    Raises
    ------
    ValueError
        If there is no attention in the network, it does not give logits (B, K) for the classes of the images, or `runs`
        does not hold two variants.

    Examples
    --------
    >>> from attn_lessons.datasets import glyphworld
    >>> from attn_lessons.models import trained
    >>> network, _ = trained("glyphworld_frames_cbam_spatial")
    >>> diagnose(network, glyphworld("frames", 100, seed=999)).holds["gates stuck"]
    'no'
    """
    found = mechanisms(model)
    if not found:
        raise ValueError("there is no attention in this network: put some in with attach(model, …).")
    logits = all_logits(model, images)
    gates = gates_of(model, found, images)
    findings = {
        "gates stuck": gates_stuck(gates),
        "signal fades": signal_fades(model, images),
        "disturbed start": disturbed_start(model, images, logits),
        "weights not loaded": weights_not_loaded(model, weights),
        "wrong slot": wrong_slot(model, found, gates, images),
        "not trained": not_trained(model, found, images, optimizer),
        "sees everything": sees_everything(model, found, images),
        "within noise": within_noise(runs, logits, images.labels),
    }
    return pd.DataFrame.from_dict(findings, "index", columns=Finding._fields)


@torch.no_grad()
def all_logits(model: nn.Module, images: ImageSet) -> torch.Tensor:
    with evaluation_mode(model):
        parts = [model(network_input(model, part)) for part in images.images.split(100)]
    if not all(isinstance(part, torch.Tensor) and part.dim() == 2 for part in parts):
        raise ValueError(f"this {type(model).__name__} does not give logits (B, K): hand over one that classifies.")
    logits = torch.cat(parts).float().cpu()
    if logits.shape[1] <= images.labels.max():
        raise ValueError(f"this network has {logits.shape[1]} classes, the images {len(images.classes)}: fit its head.")
    return logits


@torch.no_grad()
def gates_of(model: nn.Module, found: dict[str, nn.Module], images: ImageSet) -> dict[str, torch.Tensor]:
    """Name of each mechanism that has gates → all of them for up to 100 images, (n, number of gates)."""
    with evaluation_mode(model), watch(model) as seen:
        model(network_input(model, images.images[:100]))
    gates = {}
    for mechanism in found:
        noted = [w for name, w in seen.items() if name == mechanism or name.startswith(f"{mechanism}.")]
        own = [weight.flatten(1).float() for weights in noted for key, weight in weights.items() if key in GATES]
        if own:
            gates[mechanism] = torch.cat(own, 1)
    return gates


# ------------------------------------------------------------------------------------------------ the eight causes
def gates_stuck(gates: dict[str, torch.Tensor]) -> Finding:
    if not gates:
        return Finding("not tested", "no gates", "This attention has no gates that could be stuck.")
    alive = {name: ((gate.std(0) > MOVES) & (gate.mean(0) > SATURATED) & (gate.mean(0) < 1 - SATURATED)).float().mean()
             for name, gate in gates.items()}  # fmt: skip
    name, least = min(alive.items(), key=lambda pair: pair[1])
    measured = f"{least:.0%} of the gates of {name} move"
    if least == 0:
        return Finding("yes", measured, f"Its gates are {gates[name].mean():.2f} for every image, and get no gradient: "
                       "re-initialise it with more hidden units.")  # fmt: skip
    return Finding("no", measured, "The gates differ from image to image.")


@torch.no_grad()
def signal_fades(model: nn.Module, images: ImageSet) -> Finding:
    twin = copy.deepcopy(model).eval()
    for part in twin.modules():
        part.training = isinstance(part, BATCH_NORM)  # batch statistics, as in the first steps of a training
    x = network_input(twin, images.images[:100])
    spread = twin(x).float().std(0).mean().item()
    with bypassed(twin):
        without = twin(x).float().std(0).mean().item()
    left = spread / max(without, 1e-12)
    measured = f"logits spread {spread:.3g}, without attention {without:.3g}"
    if left < FADED and spread < FLAT:
        return Finding("yes", measured, "Gates below 1 follow each other and scale the signal down: put them on a "
                       "residual branch, before a batch norm's layer, or let them start as the identity.")  # fmt: skip
    return Finding("no", measured, "Attention does not shrink the signal.")


@torch.no_grad()
def disturbed_start(model: nn.Module, images: ImageSet, logits: torch.Tensor) -> Finding:
    with bypassed(model):
        without = all_logits(model, images)
    right, other = ((some.argmax(1) == images.labels.cpu()).float() for some in (logits, without))
    chance, n = 1 / logits.shape[1], len(images)
    if max(right.mean(), other.mean()) < chance + 2 * math.sqrt(chance * (1 - chance) / n):
        return Finding("not tested", f"accuracy {right.mean():.0%}, chance {chance:.0%}",
                       "An untrained network cannot be disturbed.")  # fmt: skip
    z = (other - right).sum() / (other != right).sum().clamp(min=1).sqrt()  # McNemar's, with its sign
    measured = f"accuracy {right.mean():.0%}, attention bypassed {other.mean():.0%}"
    if z > Z:
        return Finding("yes", measured, "With attention the network is worse than without: start as the identity, "
                       'attach(…, start="identity"), or train longer.')  # fmt: skip
    return Finding("no", measured, "Attention does not disturb the predictions.")


def weights_not_loaded(model: nn.Module, weights) -> Finding:
    if weights is None:
        return Finding("not tested", "", "Hand over the file: weights=….")
    own = {name: tensor.detach().float().cpu() for name, tensor in model.state_dict().items()}
    if not isinstance(weights, Mapping):
        weights, _ = weights_and_about(weights)
    given = {name: w.float().cpu() for name, w in unwrap(weights, own)[0].items() if w.dim() > 1}
    there = [name for name, w in given.items() if name in own and own[name].shape == w.shape
             and torch.cosine_similarity(own[name].flatten(), w.flatten(), 0) > ALIKE]  # fmt: skip
    measured = f"{len(there)} of {len(given)} weights are in the network"
    if len(there) < LOADED * len(given):
        missing = next(name for name in given if name not in there)
        return Finding("yes", measured, f"{missing} is not there: load_matching says which names and shapes differ.")
    return Finding("no", measured, "The network has the weights of the file, or has been fine-tuned from them.")


def wrong_slot(model: nn.Module, found: dict[str, nn.Module], gates: dict, images: ImageSet) -> Finding:
    if not gates:
        return Finding("not tested", "no gates", "Attention that adds to x may follow an addition.")
    norms = {name: part for name, part in model.named_modules() if isinstance(part, BATCH_NORM)}
    made, wrong = {}, {}

    def keep(name: str, x: torch.Tensor, y: torch.Tensor) -> None:
        if name in gates and not any(x is other for other in made) and is_sum(x.grad_fn):
            wrong[name] = "after the addition, where it scales the skip connection, too: put it on the residual branch"
        made[y] = name

    def look(name: str, x: torch.Tensor, y: torch.Tensor) -> None:
        if made.get(x) in gates:
            wrong[made[x]] = f"right before the batch norm {name}, which scales each channel anew: put it after"

    with evaluation_mode(model), torch.enable_grad(), hooked(found, keep), hooked(norms, look):
        model(network_input(model, images.images[:2]).requires_grad_())
    measured = f"{len(wrong)} of {len(gates)} modules with gates"
    if wrong:
        name, where = next(iter(wrong.items()))
        return Finding("yes", measured, f"{name} stands {where}.")
    return Finding("no", measured, "No gate follows an addition or precedes a batch norm.")


def is_sum(node) -> bool:
    """Whether a tensor is a sum, or the ReLU of one: the end of a residual block."""
    while node is not None and node.name().startswith(("Relu", "Gelu", "Silu", "Hardswish")):
        node = node.next_functions[0][0]
    return node is not None and node.name().startswith("Add") and node.name() != "AddmmBackward0"


def not_trained(model: nn.Module, found: dict[str, nn.Module], images: ImageSet, optimizer) -> Finding:
    changes, new = [], {id(p): p for module in found.values() for p in module.parameters()}
    with (
        torch.no_grad(),
        evaluation_mode(model),
        hooked(found, lambda name, x, y: changes.append(((y - x).norm() / x.norm().clamp(min=1e-9)).item())),
    ):
        model(network_input(model, images.images[:100]))
    measured = f"changes its feature maps by {max(changes):.1%} at most"
    groups = {id(p): group for group in (optimizer.param_groups if optimizer else ()) for p in group["params"]}
    inside = [groups[key] for key in new if key in groups]
    rest = [group["lr"] for key, group in groups.items() if key not in new]
    if frozen := sum(not p.requires_grad for p in new.values()):
        return Finding("yes", f"{frozen} of {len(new)} tensors frozen", "Attention is frozen: p.requires_grad_(True).")
    if optimizer and len(inside) < len(new):
        return Finding("yes", f"{len(inside)} of {len(new)} tensors in the optimizer",
                       "The optimizer does not know the attention: make it after attach.")  # fmt: skip
    if inside and rest and min(group["lr"] for group in inside) < min(rest):
        return Finding("yes", f"learning rate {min(g['lr'] for g in inside):g}, elsewhere {min(rest):g}",
                       "New parameters need at least that learning rate: give them a parameter group.")  # fmt: skip
    pull = max((group["lr"] * group.get("weight_decay", 0) for group in inside), default=0)
    if pull * SOON > math.log(2):
        return Finding("yes", f"weight decay halves a parameter in {math.log(2) / pull:.0f} steps",
                       "Give attention a parameter group with weight_decay=0.")  # fmt: skip
    if 0 < max(changes) < IDLE:
        return Finding("yes", measured, "Attention has hardly left the identity: give it a parameter group with a "
                       "larger learning rate, and no weight decay.")  # fmt: skip
    idle = "It is still the identity: not trained yet." if max(changes) == 0 else "Attention changes the feature maps."
    return Finding("no", measured, idle)


def sees_everything(model: nn.Module, found: dict[str, nn.Module], images: ImageSet) -> Finding:
    first = []
    x = network_input(model, images.images[:8]).requires_grad_()
    with evaluation_mode(model), torch.enable_grad(), hooked(found, lambda name, x, y: first.append((name, x))):
        model(x)
    name, maps = first[0]
    row, column = (side // 2 for side in maps.shape[2:])
    (gradient,) = torch.autograd.grad(maps[:, :, row, column].sum(), x)
    part = (gradient != 0).any(1).any(0).float().mean().item()  # of the pixels, in any of the images
    measured = f"one position before {name} depends on {part:.0%} of the pixels"
    if part >= ALL:
        return Finding("yes", measured, "The receptive field covers the image: attention cannot add context here. Put "
                       "it earlier, or use larger images.")  # fmt: skip
    return Finding("no", measured, "Attention can add context that a position does not have.")


def within_noise(runs: pd.DataFrame | None, logits: torch.Tensor, labels: torch.Tensor) -> Finding:
    if runs is None:
        n, accuracy = len(labels), (logits.argmax(1) == labels.cpu()).float().mean().item()
        half = 1.96 * math.sqrt(accuracy * (1 - accuracy) / n)
        return Finding("not tested", f"accuracy {accuracy:.1%} ± {half:.1%} on {n} images",
                       "Hand over several seeds with and without attention: runs=….")  # fmt: skip
    variants = list(dict.fromkeys(runs.variant))
    if len(variants) != 2:
        raise ValueError(
            f"runs must hold two variants, the baseline first; these are {', '.join(map(repr, variants))}."
        )
    gain = paired_difference(runs, variants[1], variants[0])
    measured = f"{gain['mean']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f}, {gain['seeds']} seeds)"
    if gain["low"] <= 0 <= gain["high"]:
        return Finding("yes", measured, "The confidence interval of the gain includes 0: more seeds, or more test "
                       "images, before anything else.")  # fmt: skip
    better = "gains" if gain["low"] > 0 else "loses"
    return Finding("no", measured, f"{variants[1]} {better} more than seeds explain.")
