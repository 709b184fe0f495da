"""Answers to the exercises of lesson 10; what the names mean is said in __init__.py."""

import torch
import torch.nn.functional as F

from attn_lessons import check


# --------------------------------------------------------------------------------------------------- exercise 1
def grad_cam(maps, gradients):
    alpha = gradients.mean((2, 3), keepdim=True)
    return (alpha * maps).sum(1).relu()


def by_einsum(maps, gradients):
    return torch.einsum("nc, nchw -> nhw", gradients.mean((2, 3)), maps).clamp(min=0)


def in_loops(maps, gradients):
    result = torch.zeros(maps.shape[0], *maps.shape[2:])
    for i in range(maps.shape[0]):
        for c in range(maps.shape[1]):
            result[i] += gradients[i, c].mean() * maps[i, c]
    return torch.relu(result)


def by_matrices(maps, gradients):
    alpha = F.adaptive_avg_pool2d(gradients, 1).flatten(1)
    return F.relu((alpha[:, None] @ maps.flatten(2))[:, 0]).view(len(maps), *maps.shape[2:])


def weights(g):
    return g.mean((2, 3), keepdim=True)


def in_place(maps, gradients):
    maps *= weights(gradients)
    return maps.sum(1).relu()


def divided(maps):
    return maps / maps.amax((1, 2), keepdim=True)


WRONG_CAMS = {
    "no ReLU": (lambda m, g: (weights(g) * m).sum(1), "ReLU is missing"),
    "absolute": (lambda m, g: (weights(g) * m).sum(1).abs(), "absolute value"),
    "sign": (lambda m, g: (-weights(g) * m).sum(1).relu(), "turned round"),
    "ReLU before the sum": (lambda m, g: (weights(g) * m).relu().sum(1), "before the sum"),
    "ReLU on weights": (lambda m, g: (weights(g).relu() * m).sum(1), "ReLU on the weights"),
    "ReLU on weights and sum": (lambda m, g: (weights(g).relu() * m).sum(1).relu(), "ReLU on the weights"),
    "size of weights": (lambda m, g: (weights(g).abs() * m).sum(1).relu(), "without its sign"),
    "ReLU on maps": (lambda m, g: (weights(g) * m.relu()).sum(1).relu(), "ReLU of their own"),
    "HiResCAM": (lambda m, g: (g * m).sum(1).relu(), "HiResCAM"),
    "gradient times map": (lambda m, g: (g * m).sum(1), "its own gradient"),
    "LayerCAM": (lambda m, g: (g.relu() * m).sum(1).relu(), "LayerCAM"),
    "sum of the gradient": (lambda m, g: (g.sum((2, 3), keepdim=True) * m).sum(1).relu(), "H·W times"),
    "mean over channels": (lambda m, g: (weights(g) * m).mean(1).relu(), "mean over the channels"),
    "largest gradient": (lambda m, g: (g.amax((2, 3), keepdim=True) * m).sum(1).relu(), "largest gradient"),
    "exchanged": (lambda m, g: grad_cam(g, m), "changed places"),
    "mean of channels": (lambda m, g: m.mean(1), "gradients do not enter"),
    "saliency": (lambda m, g: g.mean(1).relu(), "maps do not enter"),
    "batch mean": (lambda m, g: (g.mean((0, 2, 3), keepdim=True) * m).sum(1).relu(), "over the images too"),
    "wrong axis": (lambda m, g: (g.mean(1, keepdim=True) * m).sum(1).relu(), "over the channels"),
    "softmax": (lambda m, g: (weights(g).softmax(1) * m).sum(1).relu(), "softmax"),
    "stretched": (lambda m, g: divided(grad_cam(m, g)), "comes later|That comes"),
    "first image": (lambda m, g: grad_cam(m, g)[:1].expand(len(m), -1, -1), "first one"),
    "no keepdim": (lambda m, g: (g.mean((2, 3)) * m).sum(1).relu(), "keepdim=True"),
    "channels apart": (lambda m, g: (weights(g) * m).relu(), "still apart"),
    "channel axis kept": (lambda m, g: (weights(g) * m).sum(1, keepdim=True).relu(), "without keepdim"),
    "squeezed": (lambda m, g: grad_cam(m, g).squeeze(), "images is gone"),
    "pooled maps": (lambda m, g: (g.mean((2, 3)) * m.mean((2, 3))).relu(), "positions are gone"),
    "scores": (lambda m, g: (weights(g) * m).sum((1, 2, 3)).relu(), "one number an image"),
    "in place": (in_place, "in place"),
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


def variant(score=None, scale=None, combine=None, remove=True, detach=True):
    """`repaired_cam` with some lines exchanged."""

    def attempt(model, layer, x, labels):
        kept = []
        hook = layer.register_forward_hook(lambda module, given, output: kept.append(output))
        scores = model(x)
        if remove:
            hook.remove()
        asked = score(scores, labels) if score else scores[range(len(x)), labels].sum()
        (gradients,) = torch.autograd.grad(asked, kept[0])
        maps = combine(gradients, kept[0]) if combine else grad_cam(kept[0], gradients)
        maps = scale(maps) if scale else maps / (maps.amax((1, 2), keepdim=True) + 1e-12)
        return maps.detach() if detach else maps

    return attempt


def one_by_one(model, layer, x, labels):
    return torch.cat([repaired_cam(model, layer, x[i : i + 1], labels[i : i + 1]) for i in range(len(x))])


def by_backward(model, layer, x, labels):
    """With one-hot targets, a full backward pass, and where() against 0 / 0."""
    kept = []
    hook = layer.register_forward_hook(lambda module, given, output: (output.retain_grad(), kept.append(output))[1])
    try:
        scores = model(x)
        (scores * F.one_hot(labels, scores.shape[1])).sum().backward()
    finally:
        hook.remove()
    with torch.no_grad():
        maps = grad_cam(kept[0], kept[0].grad)
        top = maps.flatten(1).max(1).values[:, None, None]
        return torch.where(top > 0, maps / top, torch.zeros_like(maps))


def popular(model, layer, x, labels):
    return variant(lambda s, k: s[:, k].sum(), lambda m: m / m.max())(model, layer, x, labels)


def in_training(model, layer, x, labels):
    model.train()
    return repaired_cam(model, layer, x, labels)


def last_layer_always(model, layer, x, labels):
    return repaired_cam(model, list(model.children())[1], x, labels)


def from_lowest(m):
    low = m.amin((1, 2), keepdim=True)
    return (m - low) / (m.amax((1, 2), keepdim=True) - low).clamp(min=1e-12)


WRONG_REPAIRS = {
    "as it was": (popular, "both bugs"),
    "scale only": (variant(lambda s, k: s[:, k].sum()), "*all* images"),
    "class only": (variant(scale=lambda m: m / m.max().clamp(min=1e-12)), "whole batch"),
    "own answer": (variant(lambda s, k: s.amax(1).sum()), "own answer"),
    "highest of the batch": (variant(lambda s, k: s.max()), "highest score of the batch"),
    "first label": (variant(lambda s, k: s[:, k[0]].sum()), "first one's class"),
    "first score": (variant(lambda s, k: s[0, k[0]]), "first image's score"),
    "all classes": (variant(lambda s, k: s.sum()), "all classes"),
    "probability": (variant(lambda s, k: s.softmax(1)[range(len(k)), k].sum()), "probability"),
    "not summed": (variant(lambda s, k: s.gather(1, k[:, None])), "single number"),
    "gather without an axis": (variant(lambda s, k: s.gather(1, k).sum()), "as many axes"),
    "no scale": (variant(scale=lambda m: m), "from 0 to 1"),
    "lowest to 0": (variant(scale=from_lowest), "lowest value to 0"),
    "adds up to 1": (variant(scale=lambda m: m / m.sum((1, 2), keepdim=True).clamp(min=1e-12)), "adds up to 1"),
    "over the images": (variant(scale=lambda m: m / m.amax(0, keepdim=True).clamp(min=1e-12)), "over the *images*"),
    "rows": (variant(scale=lambda m: m / m.amax(2, keepdim=True).clamp(min=1e-12)), "row by row"),
    "columns": (variant(scale=lambda m: m / m.amax(1, keepdim=True).clamp(min=1e-12)), "column by column"),
    "NaN": (variant(scale=divided), "NaN"),
    "hook stays": (variant(remove=False), "hook stays"),
    "not detached": (variant(detach=False), "detach"),
    "hires": (variant(combine=lambda g, m: (g * m).sum(1).relu()), "its own gradient"),
    "no ReLU": (variant(combine=lambda g, m: (weights(g) * m).sum(1)), "ReLU is gone"),
    "flattened": (lambda *a: repaired_cam(*a).flatten(1), "one map an image"),
    "training mode": (in_training, "training mode"),
    "always the same layer": (last_layer_always, "layer that is handed in"),
    "no return": (lambda *a: None, "return"),
    "numpy": (lambda *a: repaired_cam(*a).numpy(), "a single tensor"),
}


# --------------------------------------------------------------------------------------------------- exercise 3
def top(maps, *dims):
    return maps == maps.amax(dims, keepdim=True)


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


def share(marked, masks):
    return ((marked & masks).sum((1, 2)) / marked.sum((1, 2)).clamp(min=1)).mean()


def by_argmax(maps, masks):
    return masks.flatten(1)[range(len(maps)), maps.flatten(1).argmax(1)].float().mean()


def by_min(maps, masks):
    return share(maps == maps.amin((1, 2), keepdim=True), masks)


WRONG_POINTS = {
    "argmax": (by_argmax, "argmax"),
    "any hit": (lambda m, t: (top(m, 1, 2) & t).flatten(1).any(1).float().mean(), "full hit"),
    "all must hit": (lambda m, t: (~top(m, 1, 2) | t).flatten(1).all(1).float().mean(), "*all*"),
    "pooled": (lambda m, t: (top(m, 1, 2) & t).sum() / top(m, 1, 2).sum(), "each *image* counts once"),
    "not shared": (lambda m, t: (top(m, 1, 2) & t).sum() / len(m), "every highest position"),
    "batch maximum": (lambda m, t: share(m == m.max(), t), "whole batch"),
    "lowest": (by_min, "*lowest*"),
    "misses": (lambda m, t: 1 - point(m, t), "misses"),
    "columns": (lambda m, t: share(top(m, 1), t), "column"),
    "rows": (lambda m, t: share(top(m, 2), t), "row"),
    "across images": (lambda m, t: share(top(m, 0), t), "*within*"),
    "object's size": (
        lambda m, t: ((top(m, 1, 2) & t).sum((1, 2)) / t.sum((1, 2)).clamp(min=1)).mean(),
        "size of the object",
    ),
    "over positions": (lambda m, t: (top(m, 1, 2) & t).float().mean(), "over all positions"),
    "energy": (lambda m, t: ((m * t).sum((1, 2)) / m.sum((1, 2))).mean(), "energy"),
    "bright half": (lambda m, t: share(m >= m.amax((1, 2), keepdim=True) / 2, t), "bright half"),
    "chance": (lambda m, t: t.float().mean(), "pointing anywhere"),
    "per image": (lambda m, t: (top(m, 1, 2) & t).sum((1, 2)) / top(m, 1, 2).sum((1, 2)), "take their mean"),
    "float": (lambda m, t: point(m, t).item(), "a single tensor"),
    "one axis": (lambda m, t: point(m, t)[None], "single number"),
    "sum": (lambda m, t: len(m) * point(m, t) + 2, "from 0 to 1"),
    "minus": (lambda m, t: (top(m, 1, 2) - t).float().mean(), "~ is the opposite"),
    "no return": (lambda m, t: None, "return"),
}

EXERCISES = {
    "grad_cam": (check.check_grad_cam, [grad_cam, by_einsum, in_loops, by_matrices], WRONG_CAMS),
    "repaired_cam": (check.check_repaired_cam, [repaired_cam, variant(), one_by_one, by_backward], WRONG_REPAIRS),
    "point": (check.check_point, [point, with_a_loop, by_products], WRONG_POINTS),
}
