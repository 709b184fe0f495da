"""Exercises of lesson 10: Grad-CAM, a Grad-CAM to repair, and the pointing game."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from .core import call, exercise, expect, expect_all, guarded, one_tensor, same, shape_of
from .probes import expect_shape
from .steps import SQUEEZE, Table, explain, other_axes

STOPPED = {  # what torch says → what it means in this lesson
    "must match the size": "If you reduced an axis: keepdim=True keeps it, with size 1.",
    "implicitly created only for scalar": "autograd.grad wants a single number: what is it for a batch?",
    "same number of dimensions": "gather wants labels with as many axes as the scores have.",
    "does not require grad": "Is the gradient switched off, or were the maps cut off from the network?",
    "list index out of range": "Was the hook on the layer, and in this network, when it ran?",
    "Subtraction, the `-` operator, with a bool": "Masks are bool: ~ is the opposite.",
}


def by(top: Callable) -> Callable:
    """Maps that are divided by ``top(maps)``."""
    return lambda maps: maps / top(maps).clamp(min=1e-12)


def over(*dims: int) -> Callable:
    return lambda maps: maps.amax(dims, keepdim=True)


# ------------------------------------------------------------------------------------------------ exercise 1
def cam(maps, gradients, given=lambda m, g: (m, g), average=lambda g: g.mean((2, 3)), weights=lambda a: a,
        add=lambda v: v.sum(1), cut=torch.relu):  # fmt: skip
    maps, gradients = given(maps, gradients)
    alpha = weights(average(gradients))
    return cut(add(alpha.reshape(alpha.shape + (1,) * (4 - alpha.dim())) * maps))


GIVEN: Table = {
    "maps and gradients have changed places: the *gradient* is averaged.": lambda m, g: (g, m),
    "the maps went through a ReLU of their own: take them as they are.": lambda m, g: (m.relu(), g),
}
AVERAGE: Table = SQUEEZE | {  # gradients → (n, C)
    "you multiply each position by its own gradient (that is HiResCAM): average it first.": lambda g: g,
    "you multiply by the positive gradient at each position (that is LayerCAM): average it first.": torch.relu,
    "you average the gradient over the channels: average it over h and w.": lambda g: g.mean(1, True),
}
WEIGHTS: Table = {
    "the sign is turned round: your map shows what speaks against the class.": torch.neg,
    "a ReLU on the weights leaves out channels that speak against the class: they should take away.": torch.relu,
    "you take the size of each weight without its sign: a negative weight takes away.": torch.abs,
    "a softmax makes every weight positive: no channel could take away.": lambda a: a.softmax(1),
}
ADD: Table = {
    "you took the mean over the channels: the weighted maps are added up.": lambda v: v.mean(1),
    "the ReLU comes before the mean over the channels: add the channels up first.": lambda v: v.relu().mean(1),
    "the ReLU comes before the sum: then no channel can take anything away.": lambda v: v.relu().sum(1),
}
CUT: Table = {
    "the ReLU is missing: a map of what speaks *for* the class has nothing below 0.": lambda v: v,
    "you took the absolute value: what speaks against the class would be bright as well.": torch.abs,
    "you kept what is below 0: keep what is above.": lambda v: v.clamp(max=0),
    "you move each lowest value to 0 as well: the ReLU is enough.": lambda v: v.relu() - v.relu().amin((1, 2), True),
    "every image has the map of the first one: each has its own.": lambda v: v[:1].relu().expand_as(v),
}
CAM = {"given": GIVEN, "average": AVERAGE, "weights": WEIGHTS, "add": ADD, "cut": CUT}


@exercise("one weight per channel, the mean of its gradient; what speaks for the class is kept: this is Grad-CAM.")
def check_grad_cam(attempt: Callable) -> None:
    """Check exercise 1 of lesson 10: ``grad_cam(maps (n, C, h, w), gradients (n, C, h, w)) → (n, h, w)``."""
    for n, c, h, w, dtype in ((3, 6, 5, 7, torch.float32), (5, 3, 6, 6, torch.float64), (1, 5, 3, 2, torch.float32)):
        maps = torch.rand(n, c, h, w) + 0.2 + 0.5 * torch.randn(n, c, h, w)
        gradients = torch.randn(n, c, h, w) + torch.randn(n, c, 1, 1)  # the mean tells channels apart
        gradients[:, 0], maps[:, 0, 0, 0] = gradients[:, 0].abs() + 1, 9  # something speaks for the class
        maps, gradients = maps.to(dtype), gradients.to(dtype)
        result = call(attempt, maps, gradients, hints=STOPPED)
        _expect_maps(result, maps, f"maps and gradients of shape {shape_of(n, c, h, w)}")

        def properties(maps=maps, gradients=gradients, result=result):
            factor = (result.sum() / cam(maps, gradients).sum()).item()
            shuffled = gradients.flatten(2)[..., torch.randperm(gradients[0, 0].numel())].view_as(gradients)
            alone = [call(attempt, m[None], g[None]) for m, g in zip(maps, gradients, strict=True)]
            more = [maps + one[:, None, None] for one in torch.eye(maps.shape[1], dtype=maps.dtype)]
            unused = [m for m in more if same(call(attempt, m, gradients), result)]
            stretched = any(same(call(attempt, a * maps, b * gradients), result) for a, b in ((1, 2), (2, 1)))
            same_class = same(call(attempt, maps, gradients.flip(1) - 1), result)
            expect_all(
                (not same_class, "the gradients do not enter: your map is the same for every class."),
                (len(unused) < maps.shape[1], "the feature maps do not enter: what is there counts as well."),
                (not unused, "some channels do not enter your map: add all of them up."),
                (not stretched, "you stretch maps or weights to a fixed size: a scale comes later."),
                (not same(result, factor * cam(maps, gradients)), f"your map is {factor:.3g} times the right one."),
                (same(torch.cat(alone), result), "an image's map changes with the other images: keep them apart."),
                (same(call(attempt, maps, shuffled), result), "your map changes when the gradient is shuffled over its "
                 "positions: a channel has one weight, the mean over all of them."),
            )  # fmt: skip

        tables = CAM | {"average": AVERAGE | other_axes(gradients)}
        other = "a map per image, but not the right one: a weight per channel, the weighted sum, then the ReLU."
        explain(result, cam, (maps, gradients), tables, other, attempt, properties)


def _expect_maps(result: Tensor, maps: Tensor, given: str, image: tuple[int, ...] = ()) -> None:
    """One map per image, (n, h, w); what the shape of a wrong one gives away."""
    n, c, h, w = maps.shape
    ideas = {
        (c, h, w): "you added up the images: add up the channels.",
        (n, *image): "that is the image's size: leave the map as large as the layer's.",
        (n, c): "the positions are gone: only the gradients lose theirs.",
        (n,): "one number per image is left; a map has one for each position.",
        (n, w, h): "rows and columns have changed places.",
        (n, 1, h, w): "the axis of the channels is still there, with size 1: leave out keepdim.",
        (n, c, h, w): "the channels are still apart: add them up.",
        (h, w): "the axis of the images is gone: each has its own map.",
    }
    expect_shape(result, (n, h, w), given, ideas, f"one map per image is wanted, {shape_of(n, h, w)}.")
    expect(not result.isnan().any(), "there is NaN in your maps: a highest value can be 0, and you divide 0 by 0.")
    types = [str(t.dtype).removeprefix("torch.") for t in (maps, result)]
    expect(len({*types}) == 1, f"for maps of {types[0]} you return {types[1]}: take their type, do not write one down.")
    expect(result.any(), "your maps are 0 everywhere, and they should not be.")


# ------------------------------------------------------------------------------------------------ exercise 2
def _network(classes: int) -> nn.Sequential:
    """Layers 0 and 3 have maps; with a hidden layer after the mean, each image has weights of its own."""
    layers = [nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3, 1, 1), nn.Tanh()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, classes)]
    nn.init.normal_(layers[-1].weight)
    return nn.Sequential(*layers).eval()


def own(scores: Tensor, labels: Tensor) -> Tensor:
    return scores.gather(1, labels[:, None])


def explained(maps, scores, labels, ask=own, stretch=by(over(1, 2)), **steps):  # noqa: B008
    (gradients,) = torch.autograd.grad(ask(scores, labels).sum(), maps, retain_graph=True)
    return stretch(cam(maps.detach(), gradients, **steps))


ASK: Table = {  # scores (n, K), labels (n,) → what is added up and differentiated
    "each image is asked about the classes of *all* images: which shape has scores[:, labels]?": lambda s, k: s[:, k],
    "you ask about the network's own answer; the labels say which class is meant.": lambda s, k: s.amax(1),
    "only the first image's score is asked about; the others get no gradient.": lambda s, k: s[0, k[0]],
    "all images are asked about one class: each has a label of its own.": lambda s, k: s[:, k[0]],
    "the first image is asked about class 0, the next about 1: use the labels.": lambda s, k: s.diagonal(),
    "each image is asked about the class before its own: labels count from 0.": lambda s, k: own(s.roll(1, 1), k),
    "you ask about all classes at once: the labels do not enter.": lambda s, k: s,
    "other classes enter the probability and its logarithm: take the score.": lambda s, k: own(s.log_softmax(1), k),
    "the loss falls where the score rises: ask about the score.": lambda s, k: -own(s.log_softmax(1), k),
    "you ask about minus the score: your maps show what speaks against the class.": lambda s, k: -own(s, k),
}  # fmt: skip
STRETCH: Table = {  # in place of dividing each map by its highest value
    "the largest value is that of the whole batch: beside a bright image, another pales.": by(torch.max),
    "the maps are not stretched: each should have 1 at its highest position.": lambda m: m,
    "you also moved each lowest value to 0: divide only.": lambda m: by(over(1, 2))(m - m.amin((1, 2), True)),
    "each map adds up to 1; it should have 1 at its highest position.": by(lambda m: m.sum((1, 2), True)),
    "the largest value is over the *images*, position by position: each map has its own.": by(over(0)),
    "the largest value is taken row by row: a map has one scale.": by(over(2)),
    "the largest value is taken column by column: a map has one scale.": by(over(1)),
    "every map is divided by the first one's highest value: each has its own.": by(lambda m: m[0].max()),
}


@exercise("each image is asked about its own class, has a scale of its own, and an empty map stays empty.")
def check_repaired_cam(attempt: Callable) -> None:
    """Check exercise 2 of lesson 10: ``repaired_cam(model, layer, x (n, 3, H, W), labels (n,)) → (n, h, w)``."""
    for n, classes, h, w, dtype in ((5, 7, 22, 18, torch.float32), (3, 3, 12, 12, torch.float64)):
        network, labels = _network(classes).to(dtype), torch.arange(n).roll(1)
        x = torch.randn(n, 3, h, w).to(dtype) * torch.linspace(0.5, 3, n)[:, None, None, None]  # some much brighter
        _expect_cam(attempt, network, 3, x, labels, "each image is by itself, but its map is not Grad-CAM's.")
        _expect_cam(attempt, network, 3, x[:1], labels[:1], "right for several images, but not for a single one.")
        other = "right for the last layer, but not for an earlier one: do you look at the layer that is handed in?"
        _expect_cam(attempt, network, 0, x, labels, other)
        _explained(attempt, network, 3, x, labels, training=True)
    with torch.no_grad():  # nothing speaks for class 1, nothing depends on class 2
        network[3].bias.fill_(1), network[3].weight.mul_(0.1), network[7].weight.abs_()
        network[9].weight.copy_(torch.tensor([[1.0], [-1.0], [0.0]]).expand(3, 12))
    _expect_cam(attempt, network, 3, x, torch.tensor([1, 0, 2]), "beside an empty map, others are not right.")


def _expect_cam(attempt: Callable, network: nn.Sequential, i: int, x: Tensor, labels: Tensor, other: str) -> None:
    """The answer's maps of layer i are right, or what explains them is said; `other` if nothing does."""
    maps = network[: i + 1](x)
    inputs, result = (maps, network[i + 1 :](maps), labels), _explained(attempt, network, i, x, labels)
    _expect_maps(result, maps, f"{len(x)} image(s) and maps of shape {shape_of(*maps.shape)}", tuple(x.shape[2:]))
    empty = ~explained(*inputs).flatten(1).any(1)
    expect(not result[empty].any(), "a map in which nothing speaks for the class should be 0 everywhere.")
    if not (top := result[~empty].amax((1, 2))).allclose(torch.ones_like(top), atol=1e-4):
        other = f"the highest positions of your maps are {[round(t, 3) for t in top.tolist()]}: each should be 1."
    if not same(_explained(attempt, network, i, torch.cat([x[:1], 2 * x[1:].flip(1)]), labels)[:1], result[:1]):
        other = "an image's map still changes with the other images in its batch: which line mixes them?"
    explain(result, explained, inputs, {"ask": ASK, "stretch": STRETCH} | CAM, other)


def _explained(attempt: Callable, network: nn.Sequential, i: int, x: Tensor, labels: Tensor, training=False) -> Tensor:
    """The answer's maps for a copy of the network; whatever is handed in must stay as it was."""
    model, inputs = copy.deepcopy(network).train(training), (x.clone(), labels.clone())
    learned = list(model.parameters())
    for parameter in learned if training else ():
        parameter.grad = torch.ones_like(parameter)  # as in the middle of a training step

    def state() -> dict[str, list]:
        return {
            "your hook stays on the layer, and goes on keeping: remove it.":
                [len(m._forward_hooks) + len(m._backward_hooks) for m in model.modules()],
            "your code leaves gradients switched off for all that follows.": [torch.is_grad_enabled()],
            "your code leaves the network in another mode (training, evaluation): put it back as it was.":
                [m.training for m in model.modules()],
            "your code changes requires_grad of x or of the network's parameters: leave it as it was.":
                [t.requires_grad for t in (inputs[0], *learned)],
            "your code leaves other gradients in the network's parameters than were there: backward() adds to them, "
            "zero_grad() wipes them.": [0 if p.grad is None else p.grad.sum().item() for p in learned],
            "your code changes x, the labels or the network's weights in place.":
                [t.double().sum().item() for t in (*inputs, *learned)],
        }  # fmt: skip

    before, given = state(), f"a network, one of its layers, and {len(x)} image(s) and label(s)"
    result = one_tensor(guarded(attempt, model, model[i], *inputs, given=given, hints=STOPPED))
    for sentence, value in state().items():
        expect(value == before[sentence], sentence)
    expect(not result.requires_grad, "your maps still hang on the network, and keep it in memory: detach them.")
    return result


# ------------------------------------------------------------------------------------------------ exercise 3
def pointed(maps, masks, mark=lambda m: m == over(1, 2)(m), share=lambda a, m: (a * m).sum((1, 2)) / a.sum((1, 2)),
            average=torch.mean):  # fmt: skip
    return average(share(mark(maps), masks).nan_to_num())


MARK: Table = {  # maps → what counts, in place of each map's highest positions
    "argmax picks a single one of the equally high positions, wherever it happens to lie: they share the point.":
        lambda m: nn.functional.one_hot(m.flatten(1).argmax(1), m[0].numel()).view_as(m),
    "you took the highest position of the whole batch: each map has its own.": lambda m: m == m.max(),
    "you took the *lowest* position of each map.": lambda m: m == m.amin((1, 2), True),
    "you took the highest position of every column: a map has one highest value.": lambda m: m == over(1)(m),
    "you took the highest position of every row: a map has one highest value.": lambda m: m == over(2)(m),
    "you compared the images with each other: look *within* each map.": lambda m: m == over(0)(m),
    "you took the bright half: only the highest positions count here.": lambda m: m >= over(1, 2)(m) / 2,
    "that is the energy inside: here only the highest positions count.": lambda m: m,
    "that is what pointing anywhere scores: your maps do not enter.": torch.ones_like,
}  # fmt: skip
SHARE: Table = {
    "any hit counts in full, so that a map without a preference always wins: equally high positions share the point.":
        lambda a, m: (a * m).flatten(1).any(1).float(),
    "an image counts only if *all* its highest positions lie on the object: they share the point.":
        lambda a, m: ((a * m).sum((1, 2)) == a.sum((1, 2))).float(),
    "every highest position on the object counts in full: they share.": lambda a, m: (a * m * 1.0).sum((1, 2)),
    "positions of all images are counted together: each *image* counts once.": lambda a, m: (a * m).sum() / a.sum(),
    "that is the share of misses: a map that never hits would win.": lambda a, m: (a * ~m).sum((1, 2)) / a.sum((1, 2)),
    "you divided by the size of the object: divide by how many highest positions there are.":
        lambda a, m: (a * m).sum((1, 2)) / m.sum((1, 2)).clamp(min=1),
    "you averaged over all positions: divide by how many are highest.": lambda a, m: (a * m * 1.0).mean((1, 2)),
}  # fmt: skip
HITS: Table = {
    "you added up over the images: take the mean.": torch.sum,
    "you took the median of the images: take the mean.": torch.median,
    "only the first image counts: take the mean over all.": lambda hits: hits.flatten()[0],
    "images without a hit are left out: they count as 0.": lambda hits: hits.sum() / (hits > 0).sum(),
}
POINT = {"mark": MARK, "share": SHARE, "average": HITS}


@exercise("ties share their point, so a map without a preference scores exactly what chance does.")
def check_point(attempt: Callable) -> None:
    """Check exercise 3 of lesson 10: ``point(maps (n, H, W), masks bool (n, H, W)) → a number``."""
    ties = torch.randint(-5, 6, (37, 5, 7)) * torch.linspace(1, 2, 37)[:, None, None]
    maps, masks = torch.rand(37, 5, 7), torch.rand(37, 5, 7) < 0.4
    masks[:, 0, 0] = True  # no object is missing
    result = _share(attempt, ties, masks)

    def properties():
        only = _share(attempt, (ties == over(1, 2)(ties)).float(), masks)
        both = (result + _share(attempt, ties, ~masks)).item()
        some = f"your result is {result:.3g}; some highest positions lie on the object, some do not."
        expect(0 < result < 1, some)
        expect(same(only, result), "only the highest positions count, and not how high they are.")
        expect(abs(both - 1) < 1e-4, f"a hit on the object and one beside it make {both:.3g} together, not 1.")

    other = "not the right share: which part of a map's highest positions is on its mask?"
    explain(result, pointed, (ties, masks), POINT, other, attempt, properties)
    for when, *both in (
        ("for a single image", maps[:1], masks[:1]),
        ("for maps below 0", ties - 20, masks),
        ("for maps that are 0 everywhere", 0 * maps, masks),
        ("where some images hold no object", maps, masks & masks[:, :1, 1:2]),
    ):
        result, right = _share(attempt, *both, f"{when}: "), pointed(*both)
        expect(same(result, right), f"{when}, your result is {result:.3g} instead of {right:.3g}.")


def _share(attempt: Callable, maps: Tensor, masks: Tensor, when: str = "") -> Tensor:
    result, given = call(attempt, maps, masks, hints=STOPPED), f"maps and masks of shape {shape_of(*maps.shape)}"
    expect_shape(result, (), given, {}, "a single number is wanted, the mean of the images.")
    expect(result.is_floating_point(), "your result is a whole number or a yes; a share needs a fraction.")
    expect(not result.isnan(), when + "NaN comes out: you divide by 0. Every map has a highest position.")
    return result
