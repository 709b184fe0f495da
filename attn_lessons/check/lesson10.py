"""Exercises of lesson 10: Grad-CAM, a Grad-CAM to repair, and the pointing game."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from .core import WrongIdea, call, exercise, expect, expect_all, expect_shape, guarded, one_tensor, same, shape_of
from .steps import SQUEEZE, Table, explain, other_axes

STOPPED = {  # what torch says → what it means in this lesson
    "must match the size": "keepdim=True keeps an axis that you reduce, with size 1.",
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
    "you took the largest channel at each position: the weighted maps are added up.": lambda v: v.amax(1),
    "the ReLU comes before the sum: then no channel can take anything away.": lambda v: v.relu().sum(1),
}
CUT: Table = {
    "the ReLU is missing: a map of what speaks *for* the class has nothing below 0.": lambda v: v,
    "you took the absolute value: what speaks against the class would be bright as well.": torch.abs,
    "you squared the sum: what speaks against the class would be bright as well.": torch.square,
    "you kept what is below 0: keep what is above.": lambda v: v.clamp(max=0),
    "a sigmoid stands in place of the ReLU.": torch.sigmoid,
    "every image has the map of the first one: each has its own.": lambda v: v[:1].relu().expand_as(v),
}
CAM = {"given": GIVEN, "average": AVERAGE, "weights": WEIGHTS, "add": ADD, "cut": CUT}


@exercise("one weight per channel, the mean of its gradient; what speaks for the class is kept: this is Grad-CAM.")
def check_grad_cam(attempt: Callable) -> None:
    """Check exercise 1 of lesson 10: ``grad_cam(maps (n, C, h, w), gradients (n, C, h, w)) → (n, h, w)``."""
    for n, c, h, w in ((3, 6, 5, 7), (5, 3, 6, 6), (1, 5, 3, 2), (3, 1, 5, 1)):
        maps = torch.rand(n, c, h, w) + 0.2 + 0.5 * torch.randn(n, c, h, w)
        gradients = torch.randn(n, c, h, w) + torch.randn(n, c, 1, 1)  # the mean tells channels apart
        gradients[:, 0] += 2  # something speaks for the class in every image
        result = call(attempt, maps, gradients, hints=STOPPED)
        nan = "there is NaN in your map: do you divide by its highest value? That comes later."
        _expect_maps(result, (n, c, h, w), f"maps and gradients of shape {shape_of(n, c, h, w)}", nan)

        def properties(maps=maps, gradients=gradients, result=result):
            shuffled = gradients.flatten(2)[..., torch.randperm(gradients[0, 0].numel())].view_as(gradients)
            alone = [call(attempt, m[None], g[None]) for m, g in zip(maps, gradients, strict=True)]
            other_class, other_maps = call(attempt, maps, gradients.flip(1) - 1), call(attempt, maps + 1, gradients)
            expect_all(
                (result.any(), "your maps are 0 everywhere, and they should not be."),
                (not same(other_class, result), "the gradients do not enter: your map is the same for every class."),
                (not same(other_maps, result), "the feature maps do not enter: what is there counts as well."),
                (same(torch.cat(alone), result), "an image's map changes with the other images: keep them apart."),
                (not same(call(attempt, 2 * maps, gradients), result), "you stretch your maps: that comes later."),
                (same(call(attempt, maps, shuffled), result), "your map changes when the gradient is shuffled over its "
                 "positions: a channel has one weight, the mean over all of them."),
            )  # fmt: skip

        tables = CAM | {"average": AVERAGE | other_axes(gradients)}
        other = "a map per image, but not the right one: a weight per channel, the weighted sum, then the ReLU."
        factor = (result.sum() / cam(maps, gradients).sum()).item()
        if same(result, factor * cam(maps, gradients)):
            other = f"your map is {factor:.3g} times the right one: which factor is too much?"
        explain(result, cam, (maps, gradients), tables, other, attempt, properties)
    _expect_double(call(attempt, maps.double(), gradients.double(), hints=STOPPED))


def _expect_maps(result: Tensor, sizes: tuple[int, ...], given: str, nan: str, image: tuple[int, ...] = ()) -> None:
    """One map per image, (n, h, w); what the shape of a wrong one gives away."""
    n, c, h, w = sizes
    ideas = {
        (c, h, w): "you added up the images: add up the channels.",
        (n, *image): "that is the image's size: leave the map as large as the layer's.",
        (n, c): "the positions are gone: only the gradients lose theirs.",
        (n,): "one number per image is left; a map has one for each position.",
        (n, 1, h, w): "the axis of the channels is still there, with size 1: leave out keepdim.",
        (n, c, h, w): "the channels are still apart: add them up.",
        (h, w): "the axis of the images is gone: each has its own map.",
    }
    expect_shape(result, (n, h, w), given, ideas, f"one map per image is wanted, {shape_of(n, h, w)}.")
    expect(not result.isnan().any(), nan)


def _expect_double(result: Tensor) -> None:
    right, name = result.dtype == torch.float64, str(result.dtype).removeprefix("torch.")
    expect(right, f"for numbers of float64 you return {name}: take the type of the maps, do not write one down.")


# ------------------------------------------------------------------------------------------------ exercise 2
def _network(classes: int) -> nn.Sequential:
    """Layers "0" and "3" have maps; with a hidden layer after the mean, each image has weights of its own."""
    layers = [nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.Tanh()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, classes)]
    nn.init.normal_(layers[-1].weight)
    return nn.Sequential(*layers).eval()


def forward(model: nn.Module, layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """The layer's maps and the network's scores."""
    kept: list[Tensor] = []
    hook = layer.register_forward_hook(lambda module, given, output: kept.append(output))
    scores = model(x)
    hook.remove()
    return kept[0], scores


def own(scores: Tensor, labels: Tensor) -> Tensor:
    return scores.gather(1, labels[:, None])


def explained(maps, scores, labels, ask=own, stretch=by(over(1, 2)), **steps):  # noqa: B008
    (gradients,) = torch.autograd.grad(ask(scores, labels).sum(), maps, retain_graph=True)
    return stretch(cam(maps.detach(), gradients, **steps))


ASK: Table = {  # scores (n, K), labels (n,) → what is added up and differentiated
    "each image is asked about the classes of *all* images: which shape has scores[:, labels]?": lambda s, k: s[:, k],
    "you ask about the network's own answer; the labels say which class is meant.": lambda s, k: s.amax(1),
    "you ask about the highest score of the batch, which belongs to one image only.": lambda s, k: s.max(),
    "only the first image's score is asked about; the others get no gradient.": lambda s, k: s[0, k[0]],
    "every image is asked about the first one's class.": lambda s, k: s[:, k[0]],
    "the labels are in another order than the images.": lambda s, k: own(s, k.argsort()),
    "each image is asked about the class before its own: labels count from 0.": lambda s, k: own(s.roll(1, 1), k),
    "you ask about all classes at once: the labels do not enter.": lambda s, k: s,
    "other classes enter the probability and its logarithm: take the score.": lambda s, k: own(s.log_softmax(1), k),
    "the loss falls where the score rises: ask about the score.": lambda s, k: -own(s.log_softmax(1), k),
    "you ask about minus the score: your maps show what speaks against the class.": lambda s, k: -own(s, k),
}  # fmt: skip
STRETCH: Table = {  # in place of dividing each map by its highest value
    "the maps are divided by the largest value of the whole batch: beside a bright image, another pales.": by(
        torch.max
    ),
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
    for n, classes, h, w in ((5, 7, 24, 36), (3, 3, 12, 12)):
        network, labels = _network(classes), torch.arange(n).roll(1)
        x = torch.randn(n, 3, h, w) * torch.linspace(0.5, 3, n)[:, None, None, None]  # some much brighter
        _expect_cam(attempt, network, "3", x, labels, "each image is by itself, but its map is not Grad-CAM's.")
        _expect_cam(attempt, network, "3", x[:1], labels[:1], "right for several images, but not for a single one.")
        other = "right for the last layer, but not for an earlier one: do you look at the layer that is handed in?"
        _expect_cam(attempt, network, "0", x, labels, other)
        _explained(attempt, network, "3", x, labels, training=True)
    _expect_double(_explained(attempt, copy.deepcopy(network).double(), "3", x.double(), labels))
    with torch.no_grad():  # nothing speaks for class 1, nothing depends on class 2
        network[3].bias.fill_(1), network[3].weight.mul_(0.1), network[7].weight.abs_()
        network[9].weight.copy_(torch.tensor([[1.0], [-1.0], [0.0]]).expand(3, 12))
    _expect_cam(attempt, network, "3", x, torch.tensor([1, 0, 2]), "beside an empty map, others are not right.")


def _expect_cam(attempt: Callable, network: nn.Module, name: str, x: Tensor, labels: Tensor, other: str) -> None:
    """The answer's maps are right, or what explains them is said; `other` if nothing does."""
    maps, scores = forward(network, network.get_submodule(name), x)
    result, right = _explained(attempt, network, name, x, labels), explained(maps, scores, labels)
    given = f"{len(x)} image(s) and a layer of {maps.shape[2]}×{maps.shape[3]} positions"
    nan = "there is NaN in your maps: where nothing speaks for the class, the last line divides 0 by 0."
    _expect_maps(result, tuple(maps.shape), given, nan, tuple(x.shape[2:]))
    empty = right.amax((1, 2)) == 0
    expect((result[empty].abs() < 1e-4).all(), "a map in which nothing speaks for the class should be 0 everywhere.")
    if not same(result, right):
        others = _explained(attempt, network, name, torch.cat([x[:1], 2 * x[1:].flip(1)]), labels)
        tops = [top for top in result.amax((1, 2))[~empty].tolist() if abs(top - 1) > 1e-4]
        if tops:
            other = f"the highest position of a map is {tops[0]:.3g} instead of 1: what exactly do you divide by?"
        if not same(others[0], result[0]):
            other = "an image's map still changes with the other images in its batch: which line mixes them?"
    explain(result, explained, (maps, scores, labels), {"ask": ASK, "stretch": STRETCH} | CAM, other)


def _explained(attempt: Callable, network: nn.Module, name: str, x: Tensor, labels: Tensor, training=False) -> Tensor:
    """The answer's maps for a copy of the network; whatever is handed in must stay as it was."""
    model, inputs = copy.deepcopy(network).train(training), (x.clone(), labels.clone())
    for parameter in model.parameters() if training else ():
        parameter.grad = torch.ones_like(parameter)  # as in the middle of a training step
    before, layer = _state(model, *inputs), model.get_submodule(name)
    given = f"a network, one of its layers, and {len(x)} image(s) and label(s)"
    result = one_tensor(guarded(attempt, model, layer, *inputs, given=given, hints=STOPPED))
    for sentence, value in _state(model, *inputs).items():
        expect(value == before[sentence], sentence)
    expect(not result.requires_grad, "your maps still hang on the network, and keep it in memory: detach them.")
    return result


def _state(model: nn.Module, x: Tensor, labels: Tensor) -> dict[str, list]:
    """What belongs to the caller, by the sentence for a change in it."""
    modules, learned = list(model.modules()), list(model.parameters())
    return {
        "your hook stays on the layer, and goes on keeping: remove it.":
            [len(m._forward_hooks) + len(m._backward_hooks) for m in modules],
        "your code leaves gradients switched off for all that follows.": [torch.is_grad_enabled()],
        "your code leaves the network in another mode (training, evaluation): put it back as it was.":
            [m.training for m in modules],
        "your code leaves requires_grad of the network's parameters, or of x, changed: put it back as it was.":
            [t.requires_grad for t in (x, *learned)],
        "your code leaves other gradients in the network's parameters, and the next training step would use them: "
        "backward adds to them, zero_grad wipes them.": [0 if p.grad is None else p.grad.sum().item() for p in learned],
        "your code changes x, the labels or the network's weights in place.":
            [t.double().sum().item() for t in (x, labels, *learned)],
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------ exercise 3
def pointed(maps, masks, mark=lambda m: m == over(1, 2)(m), share=lambda a, m: inside(a, m) / a.sum((1, 2)),
            average=torch.mean):  # fmt: skip
    return average(share(mark(maps), masks).nan_to_num())


def inside(marked: Tensor, masks: Tensor) -> Tensor:
    return (marked * masks).sum((1, 2))


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
    "one highest position on the object counts as a full hit, and a map without a preference always wins: they share "
    "the point.": lambda a, m: (a * m).flatten(1).any(1).float(),
    "an image counts only if *all* its highest positions lie on the object: they share the point.":
        lambda a, m: (inside(a, m) == a.sum((1, 2))).float(),
    "every highest position on the object counts as a full hit: they share the point.": lambda a, m: inside(a, m) * 1.0,
    "positions of all images are counted together: each *image* counts once.": lambda a, m: (a * m).sum() / a.sum(),
    "that is the share of misses: a map that never hits would win.": lambda a, m: inside(a, ~m) / a.sum((1, 2)),
    "you divided by the size of the object: divide by how many highest positions there are.":
        lambda a, m: inside(a, m) / m.sum((1, 2)).clamp(min=1),
    "that is the IoU: divide by how many highest positions there are.":
        lambda a, m: inside(a, m) / (a.bool() | m).sum((1, 2)),
    "you averaged over all positions: divide by how many are highest.": lambda a, m: inside(a, m) / m[0].numel(),
}  # fmt: skip
HITS: Table = {
    "you added up over the images: take the mean.": torch.sum,
    "only the first image counts: take the mean over all.": lambda hits: hits.flatten()[0],
    "images without a hit are left out: they count as 0.": lambda hits: hits.sum() / (hits > 0).sum(),
}
POINT = {"mark": MARK, "share": SHARE, "average": HITS}


@exercise("ties share their point, so a map without a preference scores exactly what chance does.")
def check_point(attempt: Callable) -> None:
    """Check exercise 3 of lesson 10: ``point(maps (n, H, W), masks bool (n, H, W)) → a number``."""
    maps, masks = torch.rand(30, 5, 7), torch.rand(30, 5, 7) < 0.4
    masks[:, 0, 0] = True  # no object is missing
    for when, maps, masks in (  # noqa: B020
        ("", torch.randint(-5, 6, maps.shape) * torch.linspace(1, 2, 30)[:, None, None], masks),
        ("for a single image: ", maps[:1], masks[:1]),
        ("for maps that are below 0 everywhere: ", -torch.randint(1, 9, maps.shape).float(), masks),
        ("for maps that are the same everywhere: ", 0.3 + 0 * maps, masks),
        ("for maps that are 0 everywhere: ", 0 * maps, masks),
        ("for maps that are very small everywhere: ", 1e-9 * maps, masks),
        ("where some images hold no object (they score 0): ", maps, masks & masks[:, :1, 1:2]),
        ("where no image holds the object: ", maps, masks & False),
    ):
        result, given = call(attempt, maps, masks, hints=STOPPED), f"maps and masks of shape {shape_of(*maps.shape)}"
        expect_shape(result, (), given, {}, "a single number is wanted, the mean of the images.")
        expect(result.is_floating_point(), "your result is a whole number or a yes; a share needs a fraction.")
        expect(
            not result.isnan(), when + "your result is NaN: how many positions of a map are highest? That is never 0."
        )
        other = "not the right share: which part of a map's highest positions is on its mask?"

        def properties(maps=maps, masks=masks, result=result, when=when, other=other):
            expect(not when, other)  # two wrong steps would show in the first case
            only = call(attempt, (maps == over(1, 2)(maps)).float(), masks)
            total = (result + call(attempt, maps, ~masks)).item()
            expect_all(
                (
                    0 < result < 1,
                    f"your result is {result:.3g}; some highest positions lie on the object, some do not.",
                ),
                (same(only, result), "only the highest positions count, and not how high they are."),
                (abs(total - 1) < 1e-4, f"a hit beside the object and one on it make {total:.3g} together, not 1."),
            )

        try:
            explain(result, pointed, (maps, masks), POINT, other, attempt, properties)
        except WrongIdea as idea:
            raise WrongIdea(when + str(idea)) from None
