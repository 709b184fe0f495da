"""The networks of a command, as a header describes them: a name, its arguments, and what is attached."""

import ast
import inspect
import warnings
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from ..attention import MECHANISMS
from ..models import build_network, load_matching, slots
from ..models.weights import checksum, weights_and_about

OURS = {"glyph_net": "glyphworld", "small_cnn": "tutorial"}  # and the recipe of each
OURS |= {f"vgg{depth}{norm}": "modern" for depth in (11, 13, 16, 19) for norm in ("", "_bn")}


def known_network(name: str) -> str | None:
    """None for a network of the course or of torchvision, otherwise a sentence."""
    if name in OURS:
        return None
    from torchvision import models  # takes as long to import as torch

    names = models.list_models(models)
    if name in names:
        return None
    similar = ", ".join(get_close_matches(name, [*OURS, *names], 3)) or ", ".join(OURS)
    return f"--network {name} is none of the course's and none of torchvision's; similar are {similar}."


def describe(variant: str, num_classes: int, settings) -> dict[str, object]:
    """What `attn_lessons.models.build_network` takes, for a mechanism or for "deep", the control."""
    if settings.attaches:
        return attached(variant, plain("none", num_classes, settings), settings)
    return plain(variant, num_classes, settings)


def plain(variant: str, num_classes: int, settings) -> dict[str, object]:
    """A network whose own slots hold the mechanism."""
    size, network, arguments = settings.size, settings.network, {"num_classes": num_classes}
    if network not in OURS:
        return {"network": network, "arguments": arguments}
    if network == "glyph_net" and variant == "deep":
        return {"network": "GlyphNet", "arguments": arguments | {"deep": True}}
    if network == "glyph_net":  # with feature maps of a quarter of the image's size
        common = {"norm": True, "size": (size // 4, size // 4)}
        chosen = read_variant(variant, reduction=settings.reduction, **common)
        return {"network": "GlyphNet", "arguments": arguments | chosen}
    arguments |= {"image_size": size} | read_variant(variant, reduction=settings.reduction)
    if network == "small_cnn":
        return {"network": "SmallCNN", "arguments": arguments}
    vgg = {"depth": int(network[3:5]), "batch_norm": network.endswith("_bn"), "head": "cifar"}
    vgg |= {"width": 1 if settings.width is None else settings.width, "blocks": settings.blocks or [1, 2, 3, 4, 5]}
    vgg |= {"start": settings.start} if settings.start else {}
    return {"network": "VGG", "arguments": vgg | arguments}


def attached(variant: str, network: dict[str, object], settings) -> dict[str, object]:
    """`network`, and the mechanism after some of its modules: those named, or those where papers put attention."""
    options, image = read_variant(variant, reduction=settings.reduction), [3, settings.size, settings.size]
    mechanism = options.pop("attention")
    if mechanism == "none":
        return network
    after = settings.after or usual(network["network"], network["arguments"]["num_classes"], settings.size)
    place = {"mechanism": mechanism, "after": after, "start": settings.start or "identity", "image": image}
    return network | {"attached": [place | options]}


@lru_cache
def usual(network: str, num_classes: int, size: int) -> list[str]:
    table = slots(without_numbers({"network": network, "arguments": {"num_classes": num_classes}}), (3, size, size))
    if not (table.usual != "").any():
        some = ", ".join(table.index[-3:])
        raise ValueError(f"--network {network}: say where attention goes, with --after and names such as {some}.")
    return list(table.index[table.usual != ""])


def read_variant(variant: str, **common: object) -> dict[str, object]:
    """A mechanism and its options: those that the variant names, and those of `common` that the mechanism takes.

    Examples
    --------
    >>> read_variant("deformable:offset_range=0,position=table", reduction=4, norm=True)
    {'attention': 'deformable', 'norm': True, 'offset_range': 0, 'position': 'table'}
    """
    mechanism, _, named = variant.partition(":")
    takes = inspect.signature(MECHANISMS[mechanism]).parameters if mechanism in MECHANISMS else ()
    chosen = {"attention": mechanism} | {option: value for option, value in common.items() if option in takes}
    for text in filter(None, named.split(",")):
        option, _, value = text.partition("=")
        if not value:
            raise ValueError(f"--attention {variant}: {text!r} is not option=value, as in se:reduction=8.")
        try:
            chosen[option] = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            chosen[option] = value  # a word: position=table
    return chosen


def without_numbers(description: dict[str, object]) -> nn.Module:
    """A network that knows its shapes and nothing else: quick to build, quick to run."""
    try:
        with torch.device("meta"):
            return build_network(**description)
    except NotImplementedError:  # a RegNet computes its widths
        return build_network(**description).to("meta")


def try_out(variant: str, settings) -> None:
    """Run the network once without its numbers: a mistake is found before any image is read."""
    size, model = settings.size, without_numbers(describe(variant, 2, settings)).train()
    try:
        logits = model(torch.zeros(2, 3, size, size, device="meta"))
    except (RuntimeError, AssertionError) as error:
        why = f"{settings.network} cannot run on images of {size}×{size} ({error})"
        raise ValueError(f"{why}: choose another --size.") from None
    if getattr(logits, "shape", None) != (2, 2):
        raise ValueError(f"--network {settings.network} gives more than logits while it trains: choose another.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nothing is copied into numbers that are not there
        begin(model, settings)


def build(description: dict[str, object], settings) -> nn.Module:
    model = build_network(**description)
    begin(model, settings)
    model.to(settings.device)
    if settings.compile:
        compile_in_place(model)
    return model


def compile_in_place(model: nn.Module, backend: str = "inductor") -> None:
    """`torch.compile` for one of many networks; the names of its weights stay."""
    import torch._dynamo

    torch._dynamo.config.cache_size_limit = 64  # networks × modes; those beyond would run uncompiled
    model.compile(backend=backend, dynamic=False)  # else the next network is compiled for batches of any size


def begin(model: nn.Module, settings) -> None:
    """With the weights of ``--init``, if there are any."""
    if settings.init:
        weights, about = first_weights(settings.init, settings.network)
        report = load_matching(model, weights)
        model.about |= about | {"left_as_built": report["of another shape"] + report["only in the network"]}


@lru_cache(maxsize=1)
def first_weights(init: str, network: str) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    """Of ``--init``: the weights to begin with, and what they want done to images."""
    source, name = init, Path(init).name
    if init == "imagenet":
        from torchvision.models import get_model_weights

        source = name = get_model_weights(network).DEFAULT
    weights, about = weights_and_about(source)
    about = {of: about[of] for of in ("mean", "std") if of in about}
    return weights, about | {"init": f"{name} {checksum(weights):08x}"}
