"""Exercises of lesson 06: softmax self-attention, linear attention, and the repair of a popular module."""

from collections.abc import Callable
from functools import partial

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..attention import LinearSelfAttention, SelfAttention
from . import core, probes
from .core import WrongIdea, call, exercise, expect, same, shape_of
from .steps import explain
from .steps_attention import SOFT, SOFT_VALUES, soft
from .steps_linear import LINEAR, LINEAR_VALUES, linear
from .steps_repaired import MODULE, MODULE_VALUES, repaired, roles_in

NO_NUMBERS = "some of your results are no numbers: is something divided by 0?"
RELU = " With ReLU in place of elu + 1, a query with nothing but negative channels has no weights at all."
DTYPE = "float64 goes in and something else comes out: leave out .float() and dtype=…."
FROM_THE_END = "count axes from the end, −1 for channels and −2 for positions, and transpose with .mT."
LOST_AXIS = "A sum over the positions needs the shape (…, 1, d) to meet every query of its own image."
SIZES = ((3, 7, 6, 6), (3, 7, 5, 6), (3, 6, 6, 6), (1, 5, 8, 3), (5, 1, 3, 6), (3, 6, 1, 5), (3, 5, 6, 1))  # B, N, d, c
SHAPES = {
    "BNN": "that is the matrix of weights itself, one row per position: mix the values with it.",
    "BcN": "positions should come first, channels last: (B, N, d_v).",
    "Bdc Bdd": "the positions are gone, as in kᵀ v, a summary of all: which axes should meet, and which should stay?",
    "BN1 BN": "one number per position is left: did you leave out the values?",
    "B1c Bc": "one mixture for the whole image: every query has a mixture of its own.",
    "BNd": "the values have d_v channels, and so has the result: did you mix the keys or queries?",
    "BNdc": "you kept a product per query channel: add them up over d.",
    "BNNc": "you kept a product per pair of positions: add them up over the positions.",
}


# --------------------------------------------------------------------------------------------------- both functions
def check_attention(
    attempt: Callable, attend: Callable, kind: type[SelfAttention], tables: dict, values: dict[str, str], formula: str
) -> None:
    """A function of q, k and v does what `attend` does, with any axes in front, and as the `attend` of a module."""
    try:
        check_images(attempt, attend, tables, values, formula)
    except WrongIdea:
        torch.set_default_dtype(torch.float64)
        expect(right_for(attempt, attend, 2) or not right_for(attempt, attend), "right for q, k and v of two axes, as "
               f"(N, d), but not for a batch of them, as (B, N, d): {FROM_THE_END}")  # fmt: skip
        raise
    expect(right_inside(attempt, kind), "right for q, k and v of three axes, as (B, N, d), but not inside a module, "
           f"where heads make them four, (B, heads, N, d): {FROM_THE_END}")  # fmt: skip
    expect(right_for(attempt, attend), "right for q, k and v of three and of four axes, but not for two, as (N, d): "
           f"{FROM_THE_END}")  # fmt: skip


def right_for(attempt: Callable, attend: Callable, *leading: int) -> bool:
    """Is it right with axes of these sizes before those of positions and channels?"""
    q, k, v = (torch.randn(*leading, 7, size) for size in (6, 6, 5))
    try:
        return same(call(attempt, q, k, v), attend(q, k, v))
    except WrongIdea:
        return False


def right_inside(attempt: Callable, kind: type[SelfAttention]) -> bool:
    module, x = kind(12, num_heads=3), torch.randn(2, 12, 3, 5)
    expected, module.attend = module(x), attempt
    try:
        return same(call(module, x), expected)
    except WrongIdea:
        return False


def check_images(attempt: Callable, attend: Callable, tables: dict, values: dict[str, str], formula: str) -> None:
    """With three axes, (B, N, d); `formula` is said where nothing else is."""
    torch.set_default_dtype(torch.float64)  # exact, and it tells who writes a dtype down
    for b, n, d, c in SIZES:
        q, k = 1.5 * torch.randn(2, b, n, d)
        inputs = q + q.sign() / 3, k + k.sign() / 3, torch.randn(b, n, c)  # not near 0, where ReLU + 1e-6 differs
        hints = {"mat1 and mat2": LOST_AXIS, **probes.meetings({"images": b, "positions": n, "channels": d})}
        result = call(attempt, *inputs, hints=hints)
        given = f"q and k of shape {shape_of(b, n, d)} and v of shape {shape_of(b, n, c)}"
        otherwise = f"one mixture of values per position, {shape_of(b, n, c)}, is wanted."
        probes.expect_shape(result, (b, n, c), given, probes.by_letter(SHAPES, B=b, N=n, d=d, c=c), otherwise)
        expect(result.dtype == torch.float64, DTYPE)
        expect(result.isfinite().all(), NO_NUMBERS + RELU * (attend is linear))
        alone = partial(expect_alone, attempt, result, *inputs)
        mean = partial(expect_mean, attempt, attend, result, *inputs)
        explain(result, attend, inputs, tables, formula, attempt, alone, values, last=mean)
    inputs = torch.randn(3, 2, 5, 3).unbind()
    probes.expect_gradient(attempt, *inputs, names=("the queries", "the keys", "the values"))
    probes.expect_same_gradient(attempt, attend, *inputs)


def expect_alone(attempt: Callable, result: torch.Tensor, *inputs: torch.Tensor) -> None:
    probes.expect_same_again(attempt, result, *inputs)
    others = [torch.cat([t[:1], 1.5 * t[1:].flip(1)]) for t in inputs]
    expect(same(call(attempt, *others)[:1], result[:1]), "the result for an image changes with the other images in its "
           "batch: each image attends to itself.")  # fmt: skip


def expect_mean(attempt: Callable, attend: Callable, result: torch.Tensor, q, k, v) -> None:
    """What any weighted mean of values obeys, whatever the weights are."""
    probes.expect_whole(torch.isclose(result, attend(q, k, v)), "images", "positions", "channels")
    constant = torch.full_like(v, 3.0)
    expect(same(call(attempt, q, k, constant), constant), "if every position holds the same value, a weighted mean "
           "returns that value, and yours does not: do the weights of each query add up to 1?")  # fmt: skip
    expect_places(attempt, 1, result, q, k, v)


def expect_places(attempt: Callable, axis: int, result: torch.Tensor, *inputs: torch.Tensor) -> None:
    order = torch.randperm(result.shape[axis])
    expect(
        same(call(attempt, *(t.index_select(axis, order) for t in inputs)), result.index_select(axis, order)),
        "shuffle the positions, and the result should be shuffled along; yours is not, so something gets mixed up. "
        "Does every row of a (B, N, C) tensor hold the C channels of *one* position, and is no position left out?",
    )


class Watch(TorchDispatchMode):
    """How many numbers operations return, the most at once and all together."""

    largest = total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and not func.is_view:  # a view is no new number
                stored = tensor.untyped_storage().nbytes() // tensor.element_size()
                self.largest, self.total = max(self.largest, stored), self.total + stored
        return result


def expect_linear_cost(attempt: Callable, n: int, *inputs: torch.Tensor) -> None:
    with Watch() as seen, torch.no_grad():
        call(attempt, *inputs)
    expect(seen.largest < n * n, f"the numbers are right, but on the way you build the {n:,} × {n:,} matrix of all "
           "pairs, which is what this should avoid: linear in name only. Where do you set the brackets?")  # fmt: skip
    expect(seen.total < n * n, f"the numbers are right, and you never hold the whole {n:,} × {n:,} matrix, but you "
           "compute all of its numbers bit by bit: N² work. What can be computed once for all queries?")  # fmt: skip


@exercise("softmax(q kᵀ / √d) v, a weighted mean of all values per query; it also runs inside the module, with heads.")
def check_self_attend(attempt: Callable) -> None:
    """Check exercise 1 of lesson 06: ``self_attend(q (…, N, d), k (…, N, d), v (…, N, d_v)) → (…, N, d_v)``."""
    formula = "your weights are not softmax(q kᵀ / √d): compare one row with the one computed by hand above."
    check_attention(attempt, soft, SelfAttention, SOFT, SOFT_VALUES, formula)
    q, k, v = 40 * torch.randn(1, 6, 4), 40 * torch.randn(1, 6, 4), torch.randn(1, 6, 3)
    large = "right for small scores; for large ones exp overflows and inf / inf is no number. A softmax does not "
    large += "change when you subtract the largest score of each row first, and torch's softmax does that."
    expect(same(call(attempt, q, k, v), soft(q, k, v)), large)


@exercise("φ(q) (φ(k)ᵀ v), divided by φ(q)·Σφ(k): no N × N matrix; it also runs inside the module, with heads.")
def check_linear_attend(attempt: Callable) -> None:
    """Check exercise 2 of lesson 06: ``linear_attend(q (…, N, d), k (…, N, d), v (…, N, d_v)) → (…, N, d_v)``."""
    formula = "your weights are not φ(q)·φ(k) over their sum, φ = elu + 1: go through the lines above once more."
    check_attention(attempt, linear, LinearSelfAttention, LINEAR, LINEAR_VALUES, formula)
    expect_linear_cost(attempt, 1500, torch.randn(1, 1500, 4), torch.randn(1, 1500, 4), torch.randn(1, 1500, 3))


# --------------------------------------------------------------------------------------------------- exercise 3
MODULE_SIZES = ((20, 3, 3, 5, 9), (26, 8, 3, 5, 5), (24, 5, 1, 6, 1), (16, 2, 2, 1, 1))  # C, reduction, B, H, W


@exercise("it runs for any H and W, keeps every position where it is, and never compares all pairs: linear at last.")
def check_repaired(attempt: Callable) -> None:
    """Check exercise 3 of lesson 06: a class ``MyLinearAttention(in_dim, reduction=8)`` that keeps (B, C, H, W)."""
    torch.set_default_dtype(torch.float64)
    for c, r, b, h, w in MODULE_SIZES:
        given = f"in_dim={c}" + f", reduction={r}" * (r != 8)
        module = core.build_module(attempt, *((c,) if r == 8 else (c, r)), given=given)  # 8 is what it is by default
        possible, x = list(roles_in(module, c, r)), torch.randn(b, c, h, w)
        axes = {"images": b, "channels": c, "rows": h, "columns": w, "positions": h * w}
        result = call(module, x, hints=probes.meetings(axes))
        ideas = {
            "BNC": "these are tokens still: they have to find back to H × W.",
            "BCN": "H and W are one axis still: positions have to find back to H × W.",
            "BCWH": "H and W have changed places.",
            "BHWC": "the channels belong before H and W.",
        }
        ideas = probes.by_letter(ideas, B=b, C=c, H=h, W=w, N=h * w)
        probes.expect_shape(result, x.shape, f"x of shape {shape_of(*x.shape)}", ideas, "the module keeps the shape.")
        core.expect_all((result.dtype == torch.float64, DTYPE), (result.isfinite().all(), NO_NUMBERS + RELU))
        probes.expect_no_chance(module, x, result)
        roles = next((roles for roles in possible if same(result, repaired(x, roles))), possible[0])
        formula = "the positions stay where they are, but the numbers are not x + out(linear attention of query, key "
        formula += "and value), φ = elu + 1 and its normalizer: put your exercise 2 between the layers."
        alone, places = partial(expect_alone, module, result, x), partial(expect_places, module, 2, result, x)
        explain(result, repaired, (x, roles), MODULE, formula, attempt, alone, MODULE_VALUES, last=places)
        if h * w > 1:  # a single position has nothing to choose from
            probes.expect_learning(module, x, "some of your layers")
        probes.expect_same_gradient(module, partial(repaired, roles=roles), x)
        other = torch.randn(b, c, h + 1, w + 2)
        right = same(call(module, other, prefix="for a second image of another size "), repaired(other, roles))
        expect(right, "right for the first image, not for a second one of another size: what does the module keep?")
    module = core.build_module(attempt, 8, 8, given="in_dim=8, reduction=8")
    expect_linear_cost(module, 32 * 48, torch.randn(1, 8, 32, 48))
