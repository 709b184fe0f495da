"""Answers to the exercises of lesson 10; what the names mean is said in __init__.py."""

import copy

import torch
import torch.nn.functional as F

from attn_lessons import check
from attn_lessons.check import steps_cam as steps
from attn_lessons.check.steps_cam import cam, explained, pointed


# --------------------------------------------------------------------------------------------------- exercise 1
def grad_cam(maps, gradients):
    alpha = gradients.mean((2, 3), keepdim=True)
    return (alpha * maps).sum(1).relu()


def in_loops(maps, gradients):
    result = maps.new_zeros(maps.shape[0], *maps.shape[2:])
    for i in range(maps.shape[0]):
        for c in range(maps.shape[1]):
            result[i] += gradients[i, c].mean() * maps[i, c]
    return torch.relu(result)


def by_matrices(maps, gradients):
    alpha = F.adaptive_avg_pool2d(gradients, 1).flatten(1)
    return F.relu((alpha[:, None] @ maps.flatten(2))[:, 0]).view(len(maps), *maps.shape[2:])


def by_numpy(maps, gradients):
    alpha = gradients.numpy().mean((2, 3))
    return torch.from_numpy(torch.einsum("nc, nchw -> nhw", torch.from_numpy(alpha), maps).numpy().clip(0))


def first_only(maps, gradients):
    for one, gradient in zip(maps, gradients, strict=True):
        return (gradient.mean((1, 2), True) * one).sum(0).relu().expand(len(maps), -1, -1)


def in_float(maps, gradients):
    return torch.zeros(maps.shape[0], *maps.shape[2:]).add_(grad_cam(maps, gradients))


WRONG_CAMS = {  # beside those of the tables
    "saliency": (lambda m, g: g.mean(1).relu(), "do not enter"),
    "two at once": (lambda m, g: (g.sum((2, 3), True) * m).sum(1), "And: the ReLU is missing"),
    "gradient times map": (lambda m, g: (g * m).sum(1), "HiResCAM"),
    "root of the gradient": (lambda m, g: cam(m, g.abs().sqrt() * g.sign()), "shuffled|another|not the right one"),
    "too large": (lambda m, g: 3 * grad_cam(m, g), "factor of 3"),
    "first column": (lambda m, g: F.pad(grad_cam(m, g)[..., 1:], (1, 0)), "6 of 7 columns"),
    "batch mean": (lambda m, g: (g.mean((0, 2, 3), keepdim=True) * m).sum(1).relu(), "over the images"),
    "no keepdim": (lambda m, g: (g.mean((2, 3)) * m).sum(1).relu(), "keepdim=True"),
    "channels apart": (lambda m, g: (g.mean((2, 3), True) * m).relu(), "still apart"),
    "channel axis kept": (lambda m, g: grad_cam(m, g)[:, None], "leave out keepdim"),
    "pooled maps": (lambda m, g: (g.mean((2, 3)) * m.mean((2, 3))).relu(), "positions are gone"),
    "nothing": (lambda m, g: 0 * grad_cam(m, g), "0 everywhere"),
    "return in the loop": (first_only, "first one"),
    "float32": (in_float, "float64"),
}


# --------------------------------------------------------------------------------------------------- exercise 2
def repaired_cam(model, layer, x, labels):
    kept = []
    hook = layer.register_forward_hook(lambda module, given, output: kept.append(output))
    scores = model(x)
    hook.remove()
    score = scores.gather(1, labels[:, None]).sum()
    (gradients,) = torch.autograd.grad(score, kept[0])
    maps = (gradients.mean((2, 3), keepdim=True) * kept[0]).sum(1).relu()
    return (maps / maps.amax((1, 2), keepdim=True).clamp(min=1e-12)).detach()


def by_step(**wrong):
    """The solution with wrong steps, from the check's own reference and networks, which are nn.Sequential."""

    def attempt(model, layer, x, labels):
        i = list(model).index(layer) + 1
        maps = model[:i](x)
        return explained(maps, model[i:](maps), labels, **wrong)

    return attempt


def one_by_one(model, layer, x, labels):
    return torch.cat([repaired_cam(model, layer, x[i : i + 1], labels[i : i + 1]) for i in range(len(x))])


def by_backward(model, layer, x, labels, restore=True):
    """With one-hot targets, a full backward pass, and where() against 0 / 0."""
    kept, before = [], [p.grad for p in model.parameters()]
    for p in model.parameters():
        p.grad = None
    hook = layer.register_forward_hook(lambda module, given, output: (output.retain_grad(), kept.append(output))[1])
    scores = model(x)
    hook.remove()
    (scores * F.one_hot(labels, scores.shape[1])).sum().backward()
    for p, grad in zip(model.parameters(), before, strict=True):
        p.grad = grad if restore else p.grad
    with torch.no_grad():
        maps = grad_cam(kept[0], kept[0].grad)
        top = maps.flatten(1).max(1).values[:, None, None]
        return torch.where(top > 0, maps / top, torch.zeros_like(maps))


def on_a_copy(model, layer, x, labels):
    """Frozen, and in evaluation mode: none of which the caller notices."""
    name = next(name for name, module in model.named_modules() if module is layer)
    model = copy.deepcopy(model).eval().requires_grad_(False)
    return repaired_cam(model, model.get_submodule(name), x.clone().requires_grad_(), labels)


def first(change):
    """Something is done to the network, its layer and x first, and it stays done."""
    return lambda model, layer, x, labels: (change(model, layer, x), repaired_cam(model, layer, x, labels))[1]


WRONG_REPAIRS = {  # beside those of the tables
    "as it was": (by_step(ask=lambda s, k: s[:, k], stretch=lambda m: m / m.max()), "*all* images"),
    "not summed": (lambda m, y, x, k: torch.autograd.grad(m(x)[:, k], x), "single number"),
    "gather without an axis": (by_step(ask=lambda s, k: s.gather(1, k)), "as many axes"),
    "NaN": (by_step(stretch=lambda m: m / m.amax((1, 2), True)), "NaN"),
    "large epsilon": (by_step(stretch=lambda m: m / (m.amax((1, 2), True) + 0.1)), "each should be 1"),
    "1 where empty": (by_step(stretch=lambda m: (m / m.amax((1, 2), True)).nan_to_num(1)), "should be 0"),
    "hires": (by_step(average=lambda g: g), "HiResCAM"),
    "what goes in": (lambda m, y, x, k: repaired_cam(m, m[2], x, k) if y is m[3] else None, "goes into the layer"),
    "hook stays": (first(lambda m, y, x: y.register_forward_pre_hook(lambda *a: None)), "hook stays"),
    "not detached": (lambda m, y, x, k: repaired_cam(m, y, x, k) + 0 * m(x).sum(), "detach"),
    "training mode": (first(lambda m, y, x: m.train()), "another mode"),
    "frozen": (first(lambda m, y, x: (m.requires_grad_(False), x.requires_grad_())), "changes requires_grad"),
    "gradients wiped": (first(lambda m, y, x: m.zero_grad()), "wipes"),
    "gradients left": (lambda *a: by_backward(*a, restore=False), "leaves other gradients"),
    "gradients off": (lambda *a: (repaired_cam(*a), torch.set_grad_enabled(False))[0], "switched off"),
    "under no_grad": (torch.no_grad()(repaired_cam), "gradient switched off"),
    "always the same layer": (lambda m, y, x, k: repaired_cam(m, m[3], x, k), "layer that is handed in|positions"),
    "another network": (lambda m, y, x, k: repaired_cam(copy.deepcopy(m), y, x, k), "in this network"),
    "maps of an earlier call": (
        lambda m, y, x, k: torch.autograd.grad(m(x).sum(), m(x.requires_grad_())),
        "those of this call",
    ),
    "x in place": (first(lambda m, y, x: x.mul_(1.5)), "in place"),
}


# --------------------------------------------------------------------------------------------------- exercise 3
def top(maps):
    return maps == maps.amax((1, 2), keepdim=True)


def point(maps, masks):
    return ((top(maps) & masks).sum((1, 2)) / top(maps).sum((1, 2))).mean()


def with_a_loop(maps, masks):
    shares = [mask[one == one.max()].float().mean() for one, mask in zip(maps, masks, strict=True)]
    return torch.stack(shares).mean()


def by_products(maps, masks):
    shared = F.normalize(top(maps).flatten(1).float(), p=1, dim=1)
    return (shared * masks.flatten(1).float()).sum(1).mean()


def with_objects(maps, masks):
    some = masks.flatten(1).any(1)
    return point(maps[some], masks[some])


def last_argmax(maps, masks):
    flat = maps.flatten(1).flip(1)
    return masks.flatten(1).flip(1).gather(1, flat.argmax(1, True)).float().mean()


WRONG_POINTS = {  # beside those of the tables
    "per image": (lambda m, t: (top(m) & t).sum((1, 2)) / top(m).sum((1, 2)), "the mean of the images"),
    "one axis": (lambda m, t: point(m, t)[None], "single number"),
    "minus": (lambda m, t: (top(m) - t).float().mean(), "~ is the opposite"),
    "yes or no": (lambda m, t: (top(m) & t).any(), "a share needs a fraction"),
    "and without brackets": (lambda m, t: (m == m.amax((1, 2), True) & t).float().mean(), "your code stopped"),
    "from 0": (lambda m, t: point(m.relu(), t), "for maps below 0"),
    "images without object": (with_objects, "hold no object"),
    "nearly highest": (
        lambda m, t: pointed(m[None], t[None], mark=lambda m: m >= 0.9 * m.amax((1, 2), True))[0],
        "nearly as high",
    ),
    "the last of them": (last_argmax, "in full or not at all"),
    "two at once": (lambda m, t: (top(m) & t).flatten(1).any(1).sum() / 1, "And: you add up over the images"),
}

EXERCISES = {
    "grad_cam": (check.check_grad_cam, [grad_cam, in_loops, by_matrices, by_numpy], WRONG_CAMS),
    "repaired_cam": (check.check_repaired_cam, [repaired_cam, one_by_one, by_backward, on_a_copy], WRONG_REPAIRS),
    "point": (check.check_point, [point, with_a_loop, by_products], WRONG_POINTS),
}
TABLES = {
    "grad_cam": (lambda **wrong: lambda m, g: cam(m, g, **wrong), steps.CAM, cam, steps.CAM_VALUES),
    "repaired_cam": (by_step, steps.REPAIR, explained, steps.REPAIR_VALUES),
    "point": (
        lambda **wrong: lambda m, t: pointed(m[None], t[None], **wrong)[0],
        steps.POINT,
        pointed,
        steps.POINT_VALUES,
    ),
}
