"""Exercises of lesson 10: Grad-CAM, a Grad-CAM to repair, and the pointing game."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .core import call, exercise, expect, expect_shape, guarded, named_mistake, one_tensor, same, shape_of

STOPPED = {  # what torch says → what it means in this lesson
    "must match the size": "Weights of (n, C, 1, 1) meet maps of (n, C, h, w): keepdim=True keeps both axes.",
    "implicitly created only for scalar": "autograd.grad wants a single number: what is it for a batch?",
    "same number of dimensions": "gather wants labels with as many axes as the scores have.",
    "does not require grad": "Is the gradient switched off, or were the maps cut off from the network?",
    "Subtraction, the `-` operator, with a bool": "masks are bool: ~ is the opposite.",
}
Ideas = list[tuple[Tensor, str]]


# ------------------------------------------------------------------------------------------------ exercise 1
@exercise("one weight a channel, the mean of its gradient; what speaks for the class is kept: this is Grad-CAM.")
def check_grad_cam(attempt: Callable) -> None:
    """Check exercise 1 of lesson 10: ``grad_cam(maps (n, C, h, w), gradients (n, C, h, w)) → (n, h, w)``."""
    for n, c, h, w in ((3, 5, 4, 6), (2, 3, 5, 5), (1, 4, 3, 2)):
        maps = torch.rand(n, c, h, w) + 0.2 * torch.randn(n, c, h, w)
        gradients = torch.randn(n, c, h, w) + torch.randn(n, c, 1, 1)  # the mean tells channels apart
        gradients[:, 0] += 2  # something speaks for the class in every image
        result = call(attempt, maps, gradients, hints=STOPPED)
        ideas = {
            (n, 1, h, w): "the axis of the channels is still there, with size 1: sum over it without keepdim.",
            (n, c, h, w): "the channels are still apart: add them up.",
            (h, w): "the axis of the images is gone: each has its own map.",
            (n, c): "the positions are gone, and they are what a map shows: only the gradients lose theirs.",
            (n,): "one number an image is left; a map has one for each position.",
        }
        given = f"maps and gradients of shape {shape_of(n, c, h, w)}"
        expect_shape(result, (n, h, w), given, ideas, f"a map for each image is wanted, {shape_of(n, h, w)}.")
        expect(not result.isnan().any(), "there is NaN in your map: do you stretch it to 1? That comes later.")
        right = _cam(maps, gradients)
        expect(result.any() or not right.any(), "your maps are 0 everywhere, and they should not be.")
        named_mistake(result, right, _cam_mistakes(maps, gradients))
        expect((result >= 0).all(), "there are numbers below 0 in your map: what speaks against the class is cut off.")
        other = "a map for each image, but not the right one: one weight a channel, from its gradient; then the "
        expect(same(result, right), other + "weighted sum of the maps; then the ReLU.")


def _cam(maps: Tensor, gradients: Tensor) -> Tensor:
    return (gradients.mean((2, 3), keepdim=True) * maps).sum(1).relu()


def _cam_mistakes(maps: Tensor, gradients: Tensor) -> Ideas:
    def by(weights: Tensor) -> Tensor:
        return (weights * maps).sum(1).relu()

    alpha, gone = gradients.mean((2, 3), True), "the gradients do not enter your map: "
    right, weighted, each = by(alpha), (alpha * maps).sum(1), (gradients * maps).sum(1)
    hires = (
        "you multiplied each position by its own gradient (that is HiResCAM): take its mean over the positions first."
    )
    clipped = "a ReLU on the weights leaves channels that speak against the class out: they should take away."
    later = "your map is stretched, so that its highest position is 1: that comes later; the sum itself is wanted here."
    bare = "the feature maps do not enter: a gradient alone says what would count, not what is there."
    return [
        (weighted, "the ReLU is missing: a map of what speaks *for* the class has nothing below 0."),
        (weighted.abs(), "you took the absolute value: what speaks against the class would shine as well."),
        (by(-alpha), "the sign is turned round: your map shows what speaks against the class."),
        ((alpha * maps).relu().sum(1), "the ReLU comes before the sum: then no channel can take anything away."),
        ((alpha.relu() * maps).sum(1), clipped), (by(alpha.relu()), clipped),
        (by(alpha.abs()), "you took the size of each weight without its sign: a negative one takes away."),
        ((alpha * maps.relu()).sum(1).relu(), "the maps went through a ReLU of their own: take them as they are."),
        (each, hires), (each.relu(), hires), (each.relu() / maps[0, 0].numel(), hires),
        (by(gradients.relu()), "that is LayerCAM: Grad-CAM takes the mean of the gradient first."),
        (right * maps[0, 0].numel(), "you added the gradient up instead of taking its mean: H·W times too much."),
        (right / maps.shape[1], "you took the mean over the channels: the weighted maps are added up."),
        (by(gradients.amax((2, 3), True)), "you took each channel's largest gradient: the mean is meant."),
        ((maps.mean((2, 3), True) * gradients).sum(1).relu(), "maps and gradients have changed places: the *gradient* "
         "is averaged."),
        (maps.mean(1), gone + "it is the mean of the channels, the same for every class."),
        (maps.sum(1).relu(), gone + "it is the same for every class."),
        (gradients.mean(1), bare), (gradients.mean(1).relu(), bare), (gradients.sum(1).relu(), bare),
        (by(alpha.mean(0, True)), "the weights are averaged over the images too: each image has its own."),
        (by(gradients.mean(1, True)), "you averaged the gradient over the channels: each *channel* has one weight, the "
         "mean over its positions."),
        (by(alpha.softmax(1)), "a softmax makes every weight positive: no channel could take away."),
        (right / right.amax((1, 2), True).clamp(min=1e-12), later), (right / right.max(), later),
        (right[:1].expand(len(maps), -1, -1), "every image got the map of the first one: each has its own."),
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------ exercise 2
class _Network(nn.Module):
    """Two convolutions, then a hidden layer behind the mean: each image has weights of its own."""

    def __init__(self, classes: int):
        super().__init__()
        self.early, self.late = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
        self.hidden, self.classify = nn.Linear(8, 12), nn.Linear(12, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.hidden(self.late(self.early(x).relu()).tanh().mean((2, 3))).tanh())


NAN = "there is NaN in your maps: where nothing speaks for the class, the last line divides 0 by 0."


@exercise("each image is asked about its own class, has a scale of its own, and an empty map stays empty.")
def check_repaired_cam(attempt: Callable) -> None:
    """Check exercise 2 of lesson 10: ``repaired_cam(model, layer, x (n, 3, H, W), labels (n,)) → (n, h, w)``."""
    for n, classes, h, w in ((4, 5, 8, 8), (3, 3, 6, 9)):
        network, labels = _Network(classes).eval(), torch.arange(n).flip(0) % classes
        x = torch.randn(n, 3, h, w) * torch.linspace(0.5, 3, n)[:, None, None, None]  # some much brighter
        result = _explained(attempt, network, network.late, x, labels)
        wanted = f"{n} images and a layer of {h}×{w} positions"
        expect_shape(result, (n, h, w), wanted, {}, "one map an image is wanted, with the layer's positions.")
        expect(not result.isnan().any(), NAN)
        own, ideas = _left_over(network, network.late, x, labels)
        named_mistake(result, own, ideas)
        alone = [_explained(attempt, network, network.late, x[i : i + 1], labels[i : i + 1]) for i in range(n)]
        mixes = "an image's map still changes with the other images in its batch: which line mixes them?"
        expect(torch.allclose(result, torch.cat(alone), atol=1e-4), mixes)
        expect(same(result, own), "no map changes with the batch any more, but they are no longer Grad-CAM's.")
        early = _explained(attempt, network, network.early, x, labels)
        other = "right for the last layer, but not for an earlier one: do you look at the layer that is handed in?"
        expect(same(early, _left_over(network, network.early, x, labels)[0]), other)
    with torch.no_grad():  # nothing speaks for class 1
        network.late.bias.fill_(1), network.late.weight.mul_(0.1), network.hidden.weight.abs_()
        network.classify.weight.copy_(torch.tensor([[1.0], [-1.0], [0.0]]).expand(3, 12))
    asked = torch.tensor([1, 0, 0])
    empty = _explained(attempt, network, network.late, x, asked)
    expect(not empty.isnan().any(), NAN)
    expect(empty[0].abs().max() < 1e-4, "a map in which nothing speaks for the class should be 0 everywhere.")
    own, ideas = _left_over(network, network.late, x, asked)
    named_mistake(empty, own, ideas)
    expect(same(empty, own), "beside an empty map, the others are no longer right.")


def _explained(attempt: Callable, network: nn.Module, layer: nn.Module, x: Tensor, labels: Tensor):
    given = f"a network, one of its layers, and {len(x)} image(s) and label(s)"
    try:
        result = one_tensor(guarded(attempt, network, layer, x.clone(), labels.clone(), given=given, hints=STOPPED))
        expect(not layer._forward_hooks, "your hook stays on the layer, and goes on keeping: remove it.")
    finally:
        layer._forward_hooks.clear()
    expect(not result.requires_grad, "your maps still hang on the network, and keep it in memory: detach them.")
    expect(not network.training, "your code leaves the network in training mode: explain it as it was.")
    return result


def _left_over(network: nn.Module, layer: nn.Module, x: Tensor, labels: Tensor) -> tuple[Tensor, Ideas]:
    """The right maps, and those with a bug left or a new one made."""
    kept: list[Tensor] = []
    hook = layer.register_forward_hook(lambda module, given, output: kept.append(output))
    scores = network(x)
    hook.remove()

    def gradient(target: Tensor) -> Tensor:
        return torch.autograd.grad(target.sum(), kept[0], retain_graph=True)[0]

    def scaled(target: Tensor) -> Tensor:
        maps = _cam(maps=kept[0].detach(), gradients=gradient(target))
        return maps / maps.amax((1, 2), True).clamp(min=1e-12)

    maps, mine = kept[0].detach(), scores.gather(1, labels[:, None])
    own, all_labels = _cam(maps, gradient(mine)), _cam(maps, gradient(scores[:, labels]))
    signed, hires = (gradient(mine).mean((2, 3), True) * maps).sum(1), (gradient(mine) * maps).sum(1).relu()
    low, top, total = own.amin((1, 2), True), own.amax((1, 2), True), own.sum((1, 2), True)
    return own / top.clamp(min=1e-12), [
        (all_labels / all_labels.max(), "both bugs are still there: look at what is added up into score, and at the "
         "last line."),
        (scaled(scores[:, labels]), "each image is still asked about the classes of *all* images: what is the "
         "shape of scores[:, labels]?"),
        (own / own.max(), "each image is asked about its own class now; but the maps are still divided by the "
         "largest value of the whole batch: beside a bright one, an image pales."),
        (own, "the maps do not go from 0 to 1: each should have 1 at its highest position."),
        ((own - low) / (top - low).clamp(min=1e-12), "you also moved each map's lowest value to 0, which hides weak "
         "evidence: divide only."),
        (scaled(scores.amax(1)), "you ask about the network's own answer; the labels say which class is meant."),
        (scaled(scores.max()), "you ask about the highest score of the batch, which belongs to one image only."),
        (scaled(mine[0]), "only the first image's score is asked about; the others get no gradient."),
        (scaled(scores[:, labels[0]]), "every image is asked about the first one's class."),
        (scaled(scores.softmax(1).gather(1, labels[:, None])), "you ask about the probability: where the network is "
         "sure, its gradient vanishes. Take the score."),
        (scaled(scores), "you ask about all classes at once: the labels do not enter."),
        (hires / hires.amax((1, 2), True), "each position was multiplied by its own gradient; its mean was right."),
        (signed / signed.amax((1, 2), True), "the ReLU is gone: there are numbers below 0."),
        (own / total, "each map adds up to 1; it should have 1 at its highest position."),
        (own / own.amax(0, True).clamp(min=1e-12), "the largest value is over the *images*, position by position."),
        (own / own.amax(2, True).clamp(min=1e-12), "the largest value is taken row by row: a map has one scale."),
        (own / own.amax(1, True).clamp(min=1e-12), "the largest value is taken column by column: a map has one scale."),
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------ exercise 3
@exercise("ties share their point, so a map without a preference scores exactly what chance does.")
def check_point(attempt: Callable) -> None:
    """Check exercise 3 of lesson 10: ``point(maps (n, H, W), masks bool (n, H, W)) → a number``."""
    for n, h, w in ((40, 5, 7), (25, 6, 6), (1, 3, 4)):
        maps, masks = torch.rand(n, h, w), torch.rand(n, h, w) < 0.4
        masks.view(-1)[maps.argmax()] = True  # the highest position of all is a hit
        _check_points(attempt, maps, masks, "")
    maps, masks = -torch.rand(30, 4, 5) - 1, torch.rand(30, 4, 5) < 0.4
    masks.view(-1)[maps.argmax()] = True
    _check_points(attempt, maps, masks, "for maps that are below 0 everywhere: ")
    _check_points(attempt, torch.full((30, 4, 5), 0.3), masks, "for maps that are the same everywhere: ")
    _check_points(attempt, torch.randint(3, (30, 4, 5)).float(), masks, "where several positions are equally high: ")
    _check_points(attempt, torch.rand(30, 4, 5), masks & False, "where no image holds the object: ")


def _check_points(attempt: Callable, maps: Tensor, masks: Tensor, when: str) -> None:
    result, n = call(attempt, maps, masks, hints=STOPPED), len(maps)
    given, ideas = f"maps and masks of shape {shape_of(*maps.shape)}", {(n,): "one number an image; take their mean."}
    expect_shape(result, (), given, ideas, "a single number is wanted, the mean over the images.")
    expect(result.is_floating_point(), "your result is a whole number or a yes; a share from 0 to 1 needs a fraction.")
    expect(not result.isnan(), when + "your result is NaN: what do you divide by?")
    named_mistake(result, _point(maps, masks), [(value, when + idea) for value, idea in _point_mistakes(maps, masks)])
    expect(0 <= result <= 1.00001, f"{when}your result is {result.item():.3g}; a share lies from 0 to 1.")
    other = "not the right share: mark the highest positions of *each* map, and see which part of them is on its mask."
    expect(same(result, _point(maps, masks)), when + other)


def _point(maps: Tensor, masks: Tensor) -> Tensor:
    return _on(maps == maps.amax((1, 2), True), masks)


def _on(marked: Tensor, masks: Tensor) -> Tensor:
    return ((marked & masks).sum((1, 2)) / marked.sum((1, 2)).clamp(min=1)).mean()


def _point_mistakes(maps: Tensor, masks: Tensor) -> Ideas:
    highest, whole, n = maps == maps.amax((1, 2), True), maps == maps.max(), len(maps)
    on, flat = highest & masks, maps.flatten(1)
    share, batch = "they share the point.", "you took the highest position of the whole batch: each map has its own."
    first = flat.argmax(1, keepdim=True)
    covered = masks.flatten(1)
    return [
        (covered.gather(1, first).float().mean(), f"argmax picks a single one of the equally high positions, wherever "
         f"it happens to lie: {share}"),
        (on.flatten(1).any(1).float().mean(), f"one of several highest positions on the object counts as a full hit, "
         f"so that a map without a preference always wins: {share}"),
        ((on.sum((1, 2)) == highest.sum((1, 2))).float().mean(), f"an image counts only if *all* its highest positions "
         f"lie on the object: {share}"),
        (on.sum() / n, f"every highest position on the object counts as a full hit: {share}"),
        (on.sum() / highest.sum(), "positions of all images are counted together: each *image* counts once."),
        ((whole & masks).sum() / whole.sum(), batch), ((whole & masks).sum() / n, batch), (_on(whole, masks), batch),
        ((whole & masks).flatten(1).any(1).float().mean(), batch),
        (_on(maps == maps.amin((1, 2), True), masks), "you took the *lowest* position of each map."),
        (1 - _point(maps, masks), "that is the share of misses: a map that never points at the object would win."),
        (_on(maps == maps.amax(1, True), masks), "you took the highest position of every column: a map has one highest "
         "value."),
        (_on(maps == maps.amax(2, True), masks), "you took the highest position of every row: a map has one highest "
         "value."),
        (_on(maps == maps.amax(0, True), masks), "you compared the images with each other: look for the highest "
         "position *within* each map."),
        ((on.sum((1, 2)) / masks.sum((1, 2)).clamp(min=1)).mean(), "you divided by the size of the object: divide by "
         "how many highest positions there are."),
        (on.float().mean(), "you averaged over all positions: a hit is a share of the *highest* positions only."),
        (_on(maps >= maps.amax((1, 2), True) / 2, masks), "you took the bright half: only the highest positions count "
         "here."),
        (((maps * masks).sum((1, 2)) / maps.sum((1, 2))).mean(), "that is the energy inside: here only the highest "
         "positions count."),
        (((maps * masks).amax((1, 2)) / maps.amax((1, 2))).mean(), "how high the map is on the object does not count: "
         "only whether its highest position lies there."),
        (masks.float().mean(), "that is what pointing anywhere scores: your maps do not enter."),
    ]  # fmt: skip
