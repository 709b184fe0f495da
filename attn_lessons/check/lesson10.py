"""Exercises of lesson 10: Grad-CAM, a Grad-CAM to repair, and the pointing game."""

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from . import probes
from .core import call, exercise, expect, expect_all, guarded, one_tensor, same, shape_of
from .steps import explain, other_axes
from .steps_cam import AVERAGE, CAM, CAM_VALUES, POINT, POINT_VALUES, REPAIR, REPAIR_VALUES, cam, explained, pointed

STOPPED = {  # what torch says → what it means in this lesson
    "must match the size": "If you reduced an axis: keepdim=True keeps it, with size 1.",
    "implicitly created only for scalar": "autograd.grad wants a single number: what is it for a batch?",
    "same number of dimensions": "gather wants labels with as many axes as the scores have.",
    "does not require grad": "Is the gradient switched off, or were the maps cut off from the network?",
    "list index out of range": "Was the hook on the layer, and in this network, when it ran?",
    "to not have been used": "Are the maps those of this call? A list that outlives it still begins with earlier ones.",
    "Subtraction, the `-` operator, with a bool": "Masks are bool: ~ is the opposite.",
}
SHAPES = {  # of a map, by what is left of (B, C, H, W); the image is (I, J)
    "CHW": "you add up the images: add up the channels.",
    "BIJ": "that is the image's size: leave the map as large as the layer's.",
    "BC B": "the positions are gone: only the gradients lose theirs.",
    "BWH": "rows and columns have changed places.",
    "B1HW": "the axis of the channels is still there, with size 1: leave out keepdim.",
    "BCHW": "the channels are still apart: add them up.",
    "HW": "the axis of the images is gone: each has its own map. (Does a loop return in its first turn?)",
}


@exercise("one weight per channel, the mean of its gradient; what speaks for the class is kept: this is Grad-CAM.")
def check_grad_cam(attempt: Callable) -> None:
    """Check exercise 1 of lesson 10: ``grad_cam(maps (n, C, h, w), gradients (n, C, h, w)) → (n, h, w)``."""
    for n, c, h, w, dtype in ((3, 6, 5, 7, torch.float32), (5, 3, 6, 6, torch.float64), (1, 5, 3, 2, torch.float32)):
        maps = torch.rand(n, c, h, w) + 0.2 + 0.5 * torch.randn(n, c, h, w)
        gradients = torch.randn(n, c, h, w) + torch.randn(n, c, 1, 1)  # the mean tells channels apart
        gradients[:, 0], maps[:, 0, 0, 0] = gradients[:, 0].abs() + 1, 9  # something speaks for the class
        maps, gradients = maps.to(dtype), gradients.to(dtype)
        result, right = call(attempt, maps, gradients, hints=STOPPED), cam(maps, gradients)
        expect_maps(result, maps, f"maps and gradients of shape {shape_of(n, c, h, w)}")
        tables = CAM | {"average": AVERAGE | other_axes(gradients)}
        other = "a map per image, but not the right one: a weight per channel, the weighted sum, then the ReLU."
        multiple = partial(probes.expect_no_multiple, result, right, "your map is")
        last = partial(expect_one_weight_per_channel, attempt, maps, gradients, result)
        explain(result, cam, (maps, gradients), tables, other, attempt, multiple, CAM_VALUES, last=last)


def expect_one_weight_per_channel(attempt: Callable, maps: Tensor, gradients: Tensor, result: Tensor) -> None:
    one_more = [maps + one[:, None, None] for one in torch.eye(maps.shape[1], dtype=maps.dtype)]
    unused = [str(i) for i, more in enumerate(one_more) if same(call(attempt, more, gradients), result)]
    stretched = any(same(call(attempt, a * maps, b * gradients), result) for a, b in ((1, 2), (2, 1)))
    alone = all(same(call(attempt, maps[[i]], gradients[[i]]), result[[i]]) for i in range(len(maps)))
    shuffled = call(attempt, maps, probes.shuffled(gradients))
    expect_all(
        (not unused, f"maps of channels {', '.join(unused)} (counted from 0) do not enter: add up all."),
        (not stretched, "you stretch maps or weights to a fixed size: a scale comes later."),
        (alone, "an image's map changes with the other images: keep them apart."),
        (same(shuffled, result), "your map changes when the gradient is shuffled over its positions: a channel has one "
         "weight, the mean over all of them."),
    )  # fmt: skip
    probes.expect_whole(torch.isclose(result, cam(maps, gradients), atol=1e-4), "images", "rows", "columns")


def expect_maps(result: Tensor, maps: Tensor, given: str, image: tuple[int, ...] = (0, 0)) -> None:
    """One map per image, (n, h, w); what the shape of a wrong one gives away."""
    n, c, h, w = maps.shape
    ideas = probes.by_letter(SHAPES, B=n, C=c, H=h, W=w, I=image[0], J=image[1])
    probes.expect_shape(result, (n, h, w), given, ideas, f"one map per image is wanted, {shape_of(n, h, w)}.")
    expect(not result.isnan().any(), "there is NaN in your maps: a highest value can be 0, and you divide 0 by 0.")
    types = [str(t.dtype).removeprefix("torch.") for t in (maps, result)]
    expect(types[0] == types[1], f"for maps of {types[0]} you return {types[1]}: take over their dtype.")
    expect(result.any(), "your maps are 0 everywhere, and they should not be.")


# ------------------------------------------------------------------------------------------------ exercise 2
def make_network(classes: int) -> nn.Sequential:
    """Layers 0 and 3 have maps; with a hidden layer after the mean, each image has weights of its own."""
    layers = [nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3, 1, 1), nn.Tanh()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, classes)]
    nn.init.normal_(layers[-1].weight)
    return nn.Sequential(*layers).eval()


@exercise("each image has a class and a scale of its own, and an empty map stays empty.")
def check_repaired_cam(attempt: Callable) -> None:
    """Check exercise 2 of lesson 10: ``repaired_cam(model, layer, x (n, 3, H, W), labels (n,)) → (n, h, w)``."""
    for n, classes, h, w, dtype in ((5, 7, 22, 18, torch.float32), (3, 3, 12, 12, torch.float64)):
        network, labels = make_network(classes).to(dtype), torch.tensor([2, 0, 1, 0, 4])[:n]
        x = torch.randn(n, 3, h, w).to(dtype) * torch.linspace(0.5, 3, n)[:, None, None, None]  # some much brighter
        expect_cam(attempt, network, 3, x, labels, "each image is by itself, but its map is not Grad-CAM's.")
        expect_cam(attempt, network, 3, x[:1], labels[:1], "right for several images, but not for a single one.")
        other = "right for the last layer, but not for an earlier one: do you look at the layer that is handed in?"
        expect_cam(attempt, network, 0, x, labels, other)
        run(attempt, network, 3, x, labels, training=True)
    with torch.no_grad():  # nothing speaks for class 1, nothing depends on class 2
        network[3].bias.fill_(1), network[3].weight.mul_(0.1), network[7].weight.abs_()
        network[9].weight.copy_(torch.tensor([[1.0], [-1.0], [0.0]]).expand(3, 12))
    expect_cam(attempt, network, 3, x, torch.tensor([1, 0, 2]), "beside an empty map, others are not right.")


def expect_cam(attempt: Callable, network: nn.Sequential, i: int, x: Tensor, labels: Tensor, other: str) -> None:
    """The answer's maps of layer i are right, or what explains them is said; `other` if nothing does."""
    entering = network[:i](x.clone().requires_grad_())
    maps = network[i](entering)
    inputs, result = (maps, network[i + 1 :](maps), labels), run(attempt, network, i, x, labels)
    empty = ~explained(*inputs).flatten(1).any(1)
    expect(not result[empty].any(), "a map in which nothing speaks for the class should be 0 everywhere.")
    before = explained(entering, *inputs[1:])
    expect(not same(result, before), "that is the map of what goes into the layer: keep what comes out of it.")

    def properties():
        top = [round(t, 3) for t in result[~empty].amax((1, 2)).tolist()]
        others = run(attempt, network, i, torch.cat([x[:1], 2 * x[1:].flip(1)]), labels)
        expect_all(
            (0 not in top, f"the highest values of your maps are {top}: where it is 0, no score of that image enters."),
            (same(others[:1], result[:1]), "an image's map still changes with the other images in its batch: which "
             "line mixes them?"),
            (all(t == 1 for t in top), f"the highest values of your maps are {top}: each should be 1."),
        )  # fmt: skip

    explain(result, explained, inputs, REPAIR | CAM, other, attempt, values=REPAIR_VALUES, last=properties)


def state(model: nn.Module, x: Tensor, labels: Tensor) -> dict[str, list]:
    """What must stay as it was, by what to say if it did not."""
    learned = list(model.parameters())
    return {
        "your hook stays on the layer, and goes on keeping: remove it.":
            [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules()],
        "your code leaves gradients switched off for all that follows.": [torch.is_grad_enabled()],
        "your code leaves the network in another mode (training, evaluation): put it back as it was.":
            [m.training for m in model.modules()],
        "your code changes requires_grad of x or of the network's parameters: leave it as it was.":
            [t.requires_grad for t in (x, *learned)],
        "your code leaves other gradients in the network's parameters than were there: backward() adds to them, "
        "zero_grad() wipes them.": [0 if p.grad is None else p.grad.sum().item() for p in learned],
        "your code changes x, the labels or the network's weights in place.":
            [t.double().sum().item() for t in (x, labels, *learned)],
    }  # fmt: skip


def run(attempt: Callable, network: nn.Sequential, i: int, x: Tensor, labels: Tensor, training=False) -> Tensor:
    """The answer's maps for a copy of the network; whatever is handed in must stay as it was."""
    model, x, labels = copy.deepcopy(network).train(training), x.clone(), labels.clone()
    for parameter in model.parameters() if training else ():
        parameter.grad = torch.ones_like(parameter)  # as in the middle of a training step
    before, given = state(model, x, labels), f"a network, one of its layers, and {len(x)} image(s) and label(s)"
    result = one_tensor(guarded(attempt, model, model[i], x, labels, given=given, hints=STOPPED))
    for sentence, value in state(model, x, labels).items():
        expect(value == before[sentence], sentence)
    expect_maps(result, network[: i + 1](x), f"{len(x)} image(s)", tuple(x.shape[2:]))
    expect(not result.requires_grad, "your maps still hang on the network, and keep it in memory: detach them.")
    return result


# ------------------------------------------------------------------------------------------------ exercise 3
@exercise("ties share their point, so a map without a preference scores exactly what chance does.")
def check_point(attempt: Callable) -> None:
    """Check exercise 3 of lesson 10: ``point(maps (n, H, W), masks bool (n, H, W)) → a number``."""
    maps = torch.randint(1, 9, (6, 17, 5, 7)) * torch.linspace(1, 2, 17)[:, None, None]  # six batches, many ties
    maps, masks = torch.where(torch.rand(maps.shape) < 0.2, 0.97 * maps, maps), torch.rand(maps.shape) < 0.4
    masks[:, :, 0, 0] = True  # no object is missing

    def shares(maps, masks):
        return torch.stack([share(attempt, *both) for both in zip(maps, masks, strict=True)])

    def properties():
        alone, highest = shares(*(t.flatten(0, 1)[:, None] for t in (maps, masks))), maps == maps.amax((2, 3), True)
        whole = ((alone == 0) | (alone == 1)).all()
        expect(not whole, "your images count in full or not at all: equally high positions share the point.")
        expect(same(shares(highest.float(), masks), result), "only the highest positions count: not how high they are, "
               "and not what is nearly as high.")  # fmt: skip

    result = shares(maps, masks)
    other = "not the right share: which part of a map's highest positions is on its mask?"
    multiple = partial(probes.expect_no_multiple, result, pointed(maps, masks), "your result is")
    explain(result, pointed, (maps, masks), POINT, other, attempt, multiple, POINT_VALUES, last=properties)
    for when, m, t in (
        ("for a single image", maps[0, :1], masks[0, :1]),
        ("for maps below 0", maps[0] - 20, masks[0]),
        ("for maps that are 0 everywhere", 0 * maps[0], masks[0]),
        ("where some images hold no object", maps[0], masks[0] & masks[0, :, 1:2]),
    ):
        result, (right,) = share(attempt, m, t, f"{when}: "), pointed(m[None], t[None])
        expect(same(result, right), f"{when}, your result is {result.item():.3g} instead of {right:.3g}.")


def share(attempt: Callable, maps: Tensor, masks: Tensor, when: str = "") -> Tensor:
    result, given = call(attempt, maps, masks, hints=STOPPED), f"maps and masks of shape {shape_of(*maps.shape)}"
    probes.expect_shape(result, (), given, {}, "a single number is wanted, the mean of the images.")
    expect(result.is_floating_point(), "your result is a whole number or a yes; a share needs a fraction.")
    expect(not result.isnan(), when + "NaN comes out: you divide by 0. Every map has a highest position.")
    return result
