"""What people write in place of a step of coordinate attention: means of rows and columns, a gate for each of them."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F

from .steps import GATE, SCALE, SQUEEZE, Table, keep


def both_or_one(table: Table, right: Callable) -> dict[str, tuple[Callable, Callable]]:
    """Each wrong variant in both directions, in the rows alone and in the columns alone."""
    rows = {f"for the rows, {idea}": (wrong, right) for idea, wrong in table.items()}
    columns = {f"for the columns, {idea}": (right, wrong) for idea, wrong in table.items()}
    return {idea: (wrong, wrong) for idea, wrong in table.items()} | rows | columns


def along(squeeze: Callable, x: torch.Tensor, d: int) -> torch.Tensor:
    """A squeeze of whole images, done to each row (d = 3) or to each column (d = 2)."""
    lines = x if d == 3 else x.mT
    return squeeze(lines.flatten(1, 2)[:, :, None]).view(lines.shape[:3])


ALONG: Table = {
    **{idea.replace(" by H·W", ""): partial(along, f) for idea, f in SQUEEZE.items() if "reshape" not in idea},
    "you divide by the wrong length: a row has W numbers, a column H.": lambda x, d: x.sum(d) / x.shape[5 - d],
    "you divide by H·W: a row has W numbers, a column H.": lambda x, d: x.mean(d) / x.shape[5 - d],
    "view and reshape do not turn rows into columns: use transpose.": lambda x, d: x.reshape(x.mT.shape).mean(5 - d),
}  # fmt: skip
POOL = {idea: lambda x, f=f, g=g: (f(x, 3), g(x, 2)) for idea, (f, g) in both_or_one(ALONG, torch.mean).items()}
JOIN: Table = {"the column means come first: rows first, then columns.": lambda r, c: torch.cat([c, r], 2)}


def means(x):
    return x.mean(3), x.mean(2)


def side_by_side(rows, columns):
    return torch.cat([rows, columns], 2)


def pooled(x, enter=keep, pool=means, rows=keep, columns=keep, join=side_by_side):
    r, c = pool(enter(x))
    return join(rows(r), columns(c))


ACT: Table = {  # in place of h-swish
    "that is ReLU after the batch norm, as in the popular tutorial; the recipe has h-swish.": torch.relu,
    "that is swish (SiLU), the smooth original; the recipe has h-swish, F.hardswish.": F.silu,
    "h-swish is x · ReLU6(x + 3) / 6: yours lacks the division by 6.": lambda v: v * F.relu6(v + 3),
    "h-swish is x · ReLU6(x + 3) / 6: yours has a ReLU without an upper end.": lambda v: v * F.relu(v + 3) / 6,
    "h-swish is x · ReLU6(x + 3) / 6: yours lacks the + 3.": lambda v: v * F.relu6(v) / 6,
    "nothing bends between the layers: h-swish goes after the batch norm.": keep,
} | {
    f"{name} stands after the batch norm: h-swish (F.hardswish) goes there.": getattr(F, name)
    for name in ("gelu", "relu6", "hardsigmoid", "sigmoid", "tanh", "elu", "leaky_relu")
}
ORDER: Table = {  # in place of act(norm(z)); norm follows the module's mode
    "h-swish comes before the batch norm: first normalise, then h-swish.": lambda z, norm, act, h: norm(act(z)),
    "your batch norm is built, but forward does not use it.": lambda z, norm, act, h: act(z),
    "your batch norm takes the batch's statistics in evaluation, too.": lambda z, norm, act, h: act(norm(z, True)),
    "in training, your batch norm stays in evaluation mode.": lambda z, norm, act, h: act(norm(z, False)),
    "in training, your batch norm gets rows and columns one after the other: normalise all H + W numbers together.":
        lambda z, norm, act, h: act(torch.cat([norm(z[..., :h]), norm(z[..., h:])], 2)),
}  # fmt: skip
SPLIT: Table = {  # (B, m, H + W) → (B, m, H), (B, m, W); all of these fit a square x only
    "rows and columns have changed places: gates from row means lie along the columns, and the other way round. For a "
    "square x nothing complains. A row's gate belongs at (B, C, H, 1).": lambda v, h: (v[..., -h:], v[..., :-h]),
    "the column gates are made from the row means, too: split.": lambda v, h: (v[..., :h], v[..., :h]),
    "the row gates are made from the column means, too: split.": lambda v, h: (v[..., h:], v[..., h:]),
}
BACK: Table = {  # rows, columns and their layers → scores
    "the first layer back makes all gates, the second none.": lambda r, c, one, two: (times(one, r), times(one, c)),
    "the second layer back makes all gates, the first none.": lambda r, c, one, two: (times(two, r), times(two, c)),
}
SEE: Table = {  # in place of scores(x)
    "the column gates come from an x that the row gates have scaled already: take both from x itself.":
        lambda x, scores: (scores(x)[0], scores(x * scores(x)[0].sigmoid()[..., None])[1]),
}  # fmt: skip
PAIR: Table = {  # the two gates (B, C, H, 1), (B, C, 1, W), in place of row · column
    "you add the two gates: a position counts only if its row and its column are open, so multiply.": torch.add,
    "you average the two gates: a position counts only if its row and its column are open.": lambda r, c: (r + c) / 2,
    "the column gates are missing: x is multiplied by the row gates only.": lambda r, c: r,
    "the row gates are missing: x is multiplied by the column gates only.": lambda r, c: c,
    "the column gates lie along the rows: their shape is (B, C, 1, W).": lambda r, c: r * c.mT,
    "the row gates lie along the columns: their shape is (B, C, H, 1).": lambda r, c: r.mT * c,
}
GATES: Table = {  # scores (B, C, H, 1), (B, C, 1, W) → what x is multiplied by
    "a softmax makes positions compete for a sum of 1: take a sigmoid.": lambda r, c: r.softmax(2) * c.softmax(3),
    "a sigmoid of the product: squash each direction first, then multiply.": lambda r, c: (r * c).sigmoid(),
    "a sigmoid of the sum: squash each direction first, then multiply.": lambda r, c: (r + c).sigmoid(),
} | {idea: lambda r, c, f=f: f(r.sigmoid(), c.sigmoid()) for idea, f in PAIR.items()}
GATES |= {idea: lambda r, c, f=f, g=g: f(r) * g(c) for idea, (f, g) in both_or_one(GATE, torch.sigmoid).items()}
STEPS = {"split": SPLIT, "pool": {idea: POOL[idea] for idea in ALONG if "reshape" not in idea}, "order": ORDER}
STEPS |= {"act": ACT, "back": BACK, "see": SEE, "gates": GATES, "scale": SCALE}


def times(layer: tuple[torch.Tensor, torch.Tensor], z: torch.Tensor) -> torch.Tensor:
    """(B, in, n) → (B, out, n), for a weight in either orientation."""
    weight = layer[0].squeeze()
    return (weight if weight.shape[1] == z.shape[1] else weight.T) @ z + layer[1].reshape(-1, 1)


def ca(x, layers, train=False, enter=keep, pool=means, join=side_by_side, act=F.hardswish,
       order=lambda z, norm, act, h: act(norm(z)), split=lambda v, h: (v[..., :h], v[..., h:]),
       back=lambda r, c, one, two: (times(one, r), times(two, c)), see=lambda x, scores: scores(x), scores=keep,
       gates=lambda r, c: r.sigmoid() * c.sigmoid(), scale=torch.mul):  # fmt: skip
    """`layers`: the shared one, the one for rows and the one for columns, as (weight, bias), and the batch norm."""
    shared, one, two, n = layers
    h = x.shape[2]

    def norm(z, train=train):
        moments = (None, None) if train else (n.running_mean, n.running_var)
        return F.batch_norm(z, *moments, n.weight, n.bias, train, eps=n.eps)

    def seen(x):
        return back(*split(order(times(shared, join(*pool(x))), norm, act, h), h), one, two)

    x = enter(x)
    both = scores(torch.cat(see(x, seen), 2))
    return scale(x, gates(both[..., :h, None], both[:, :, None, h:]))
