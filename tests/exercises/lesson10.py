"""Answers to the exercises of lesson 10; what the names mean is said in __init__.py."""

import copy

import torch
import torch.nn.functional as F

from attn_lessons import check
from attn_lessons.check.lesson10 import ASK, CAM, POINT, STRETCH, cam, explained, pointed


# --------------------------------------------------------------------------------------------------- exercise 1
def grad_cam(maps, gradients):
    alpha = gradients.mean((2, 3), keepdim=True)
    return (alpha * maps).sum(1).relu()


def by_einsum(maps, gradients):
    return torch.einsum("nc, nchw -> nhw", gradients.mean((2, 3)), maps).clamp(min=0)


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
    alpha = gradients.numpy().mean((2, 3), keepdims=True)
    return torch.from_numpy((alpha * maps.numpy()).sum(1).clip(0))


def in_place(maps, gradients):
    maps *= gradients.mean((2, 3), True)
    return maps.sum(1).relu()


def first_only(maps, gradients):
    for one, gradient in zip(maps, gradients, strict=True):
        return (gradient.mean((1, 2), True) * one).sum(0).relu().expand(len(maps), -1, -1)


def in_float(maps, gradients):
    result = torch.zeros(maps.shape[0], *maps.shape[2:])
    result += grad_cam(maps, gradients)
    return result


WRONG_CAMS = {  # beside those of the tables
    "mean of channels": (lambda m, g: m.mean(1), "gradients do not enter"),
    "saliency": (lambda m, g: g.mean(1).relu(), "maps do not enter"),
    "two at once": (lambda m, g: (g.sum((2, 3), True) * m).sum(1), "And: the ReLU is missing|below 0"),
    "gradient times map": (lambda m, g: (g * m).sum(1), "shuffled"),
    "stretched, NaN": (lambda m, g: (grad_cam(m, g) - 9).relu() / 0, "NaN"),
    "batch mean": (lambda m, g: (g.mean((0, 2, 3), keepdim=True) * m).sum(1).relu(), "over the batch"),
    "no keepdim": (lambda m, g: (g.mean((2, 3)) * m).sum(1).relu(), "keepdim=True"),
    "channels apart": (lambda m, g: (g.mean((2, 3), True) * m).relu(), "still apart"),
    "channel axis kept": (lambda m, g: grad_cam(m, g)[:, None], "leave out keepdim"),
    "squeezed": (lambda m, g: grad_cam(m, g).squeeze(), "images is gone|one map per image"),
    "pooled maps": (lambda m, g: (g.mean((2, 3)) * m.mean((2, 3))).relu(), "positions are gone"),
    "scores": (lambda m, g: grad_cam(m, g).sum((1, 2)), "one number per image"),
    "summed over images": (lambda m, g: (g.mean((2, 3), True) * m).sum(0).relu(), "added up the images"),
    "nothing": (lambda m, g: 0 * grad_cam(m, g), "0 everywhere"),
    "return in the loop": (first_only, "first one"),
    "float32": (in_float, "float64"),
    "in place": (in_place, "in place"),
    "exit": (lambda m, g: exit(), "SystemExit"),
    "no return": (lambda m, g: None, "return"),
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


def parts(model, layer, x):
    """The layer's maps and the scores of the check's networks, which are nn.Sequential."""
    i = list(model).index(layer) + 1
    maps = model[:i](x)
    return maps, model[i:](maps)


def by_step(**steps):
    """The solution with wrong steps, from the check's own reference."""
    return lambda model, layer, x, labels: explained(*parts(model, layer, x), labels, **steps)


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


def frozen(model, layer, x, labels):
    return repaired_cam(model.requires_grad_(False), layer, x.requires_grad_(), labels)


def hook_stays(model, layer, x, labels):
    layer.register_forward_hook(lambda module, given, output: None)
    return repaired_cam(model, layer, x, labels)


def not_detached(model, layer, x, labels):
    maps, scores = parts(model, layer, x)
    (gradients,) = torch.autograd.grad(scores.gather(1, labels[:, None]).sum(), maps)
    return (cam(maps, gradients) / cam(maps, gradients).amax((1, 2), True)).nan_to_num()


def large(model, layer, x, labels):
    return F.interpolate(repaired_cam(model, layer, x, labels)[:, None], x.shape[2:], mode="bilinear")[:, 0]


def wipes(model, layer, x, labels):
    model.zero_grad()
    return repaired_cam(model, layer, x, labels)


WRONG_REPAIRS = {  # beside those of the tables
    "as it was": (by_step(ask=lambda s, k: s[:, k], stretch=lambda m: m / m.max()), "*all* images"),
    "not summed": (lambda m, y, x, k: torch.autograd.grad(m(x)[:, k], x), "single number"),
    "gather without an axis": (by_step(ask=lambda s, k: s.gather(1, k)), "as many axes"),
    "NaN": (by_step(stretch=lambda m: m / m.amax((1, 2), True)), "NaN"),
    "large epsilon": (by_step(stretch=lambda m: m / (m.amax((1, 2), True) + 0.1)), "each should be 1"),
    "1 where empty": (by_step(stretch=lambda m: (m / m.amax((1, 2), True)).nan_to_num(1)), "should be 0"),
    "hires": (by_step(average=lambda g: g), "HiResCAM"),
    "no ReLU": (by_step(cut=lambda v: v), "ReLU is missing"),
    "hook stays": (hook_stays, "hook stays"),
    "not detached": (not_detached, "detach"),
    "flattened": (lambda *a: repaired_cam(*a).flatten(1), "one map per image"),
    "image's size": (large, "image's size"),
    "training mode": (lambda m, *a: repaired_cam(m.train(), *a), "another mode"),
    "evaluation mode": (lambda m, *a: repaired_cam(m.eval(), *a), "another mode"),
    "frozen": (frozen, "changes requires_grad"),
    "gradients wiped": (wipes, "wipes"),
    "gradients left": (lambda *a: by_backward(*a, restore=False), "leaves other gradients"),
    "gradients off": (lambda *a: (repaired_cam(*a), torch.set_grad_enabled(False))[0], "switched off"),
    "under no_grad": (torch.no_grad()(repaired_cam), "gradient switched off"),
    "always the same layer": (lambda m, y, x, k: repaired_cam(m, m[3], x, k), "layer that is handed in|positions"),
    "another network": (lambda m, y, x, k: repaired_cam(copy.deepcopy(m), y, x, k), "in this network"),
    "float32": (lambda *a: repaired_cam(*a).float(), "float64"),
    "x in place": (lambda m, y, x, k: repaired_cam(m, y, x.mul_(1.5), k), "in place"),
    "no return": (lambda *a: None, "return"),
    "numpy": (lambda *a: repaired_cam(*a).numpy(), "a single tensor"),
}


# --------------------------------------------------------------------------------------------------- exercise 3
def point(maps, masks):
    highest = maps == maps.amax((1, 2), keepdim=True)
    hits = (highest & masks).sum((1, 2)) / highest.sum((1, 2))
    return hits.mean()


def with_a_loop(maps, masks):
    shares = [mask[one == one.max()].float().mean() for one, mask in zip(maps, masks, strict=True)]
    return torch.stack(shares).mean()


def by_products(maps, masks):
    flat = maps.flatten(1)
    shared = (flat == flat.max(1, keepdim=True).values).float()
    shared = shared / shared.sum(1, keepdim=True)
    return (shared * masks.flatten(1).float()).sum(1).mean()


def top(maps):
    return maps == maps.amax((1, 2), keepdim=True)


def with_objects(maps, masks):
    some = masks.flatten(1).any(1)
    return point(maps[some], masks[some])


WRONG_POINTS = {  # beside those of the tables
    "per image": (lambda m, t: (top(m) & t).sum((1, 2)) / top(m).sum((1, 2)), "the mean of the images"),
    "float": (lambda m, t: point(m, t).item(), "a single tensor"),
    "one axis": (lambda m, t: point(m, t)[None], "single number"),
    "too large": (lambda m, t: 100 * point(m, t), "some do not"),
    "minus": (lambda m, t: (top(m) - t).float().mean(), "~ is the opposite"),
    "yes or no": (lambda m, t: (top(m) & t).any(), "a share needs a fraction"),
    "and without brackets": (lambda m, t: (m == m.amax((1, 2), True) & t).float().mean(), "your code stopped"),
    "from 0": (lambda m, t: pointed(m.relu(), t), "for maps below 0"),
    "images without object": (with_objects, "hold no object"),
    "masks in place": (lambda m, t: point(m, t.logical_not_()), "in place"),
    "two at once": (lambda m, t: pointed(m, ~t, lambda m: m == m.amin((1, 2), True)), "And: |only the highest"),
    "no return": (lambda m, t: None, "return"),
}

EXERCISES = {
    "grad_cam": (check.check_grad_cam, [grad_cam, by_einsum, in_loops, by_matrices, by_numpy], WRONG_CAMS),
    "repaired_cam": (check.check_repaired_cam, [repaired_cam, one_by_one, by_backward, on_a_copy], WRONG_REPAIRS),
    "point": (check.check_point, [point, with_a_loop, by_products], WRONG_POINTS),
}
TABLES = {
    "grad_cam": (lambda **steps: lambda m, g: cam(m, g, **steps), CAM),
    "repaired_cam": (by_step, {"ask": ASK, "stretch": STRETCH}),
    "point": (lambda **steps: lambda m, t: pointed(m, t, **steps), POINT),
}
