"""Exercises of lesson 03: the two halves of CBAM, channel attention and spatial attention."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from ..attention.se import start_in_pairs_
from . import core
from .core import WrongIdea, call, exercise, expect, named_mistake, same, shape_of
from .lesson02 import expect_hidden_units, two_layers


def _away_from_zero(*shape: int) -> torch.Tensor:
    """Numbers of both signs, none near 0, so that result / x tells the gate; mean and maximum go their own ways."""
    each = (*shape[:2], 1, 1)
    sign = torch.where(torch.rand(shape) < torch.rand(each), -1.0, 1.0)
    return (torch.rand(shape) + 0.5) * sign * (0.4 + torch.rand(each))


# --------------------------------------------------------------------------------------------------- exercise 1
@exercise("mean and maximum through one MLP, one gate per channel: the channel half of CBAM, weight for weight.")
def check_channel_attention(attempt: Callable) -> None:
    """Check exercise 1 of lesson 03: a class ``ChannelAttention(channels, reduction)`` that keeps (B, C, H, W)."""
    for channels, reduction, b, h, w in ((32, 4, 3, 5, 7), (24, 8, 2, 6, 6), (16, 4, 16, 16, 16), (20, 8, 2, 1, 3)):
        module = core.build_module(attempt, channels, reduction, given=f"channels={channels}, reduction={reduction}")
        x = _away_from_zero(b, channels, h, w)
        first, second = _shared_layers(module, channels, reduction)
        with torch.no_grad():  # moderate weights: no gate hides near 0.5, none is stuck at 0 or 1
            first.copy_(torch.randn_like(first) / channels**0.5 * 2)
            start_in_pairs_(first)
            second.copy_(torch.randn_like(second))
        w1, w2 = first.detach().reshape(-1, channels), second.detach().reshape(channels, -1)
        result, right = call(module, x), _channel_reference(x, w1, w2)
        core.expect_scaled(result, x, "a gate per channel, and x keeps its shape.")
        named_mistake(result, right, _channel_mistakes(x, w1, w2))
        position = "mean and maximum both go over H and W, so that a channel gets one gate."
        core.expect_channel_gates(module, x, result, position, "its mean and maximum must go through the MLP.")
        _check_what_it_hears(module, x, result / x)
        expect(
            same(result, right),
            "one gate in (0, 1) per channel and image, as it should be, but by another formula than "
            "σ(MLP(mean) + MLP(max)): go through it step by step.",
        )
        core.expect_learning(module, x, "your two layers")
        core.expect_one_image(module, x)
    expect_hidden_units(attempt)


def _channel_reference(x: torch.Tensor, w1: torch.Tensor, w2: torch.Tensor) -> torch.Tensor:
    def mlp(squeezed):
        return (squeezed @ w1.T).relu() @ w2.T

    return x * (mlp(x.mean((2, 3))) + mlp(x.amax((2, 3)))).sigmoid()[:, :, None, None]


def _shared_layers(module: nn.Module, channels: int, reduction: int) -> tuple[nn.Parameter, nn.Parameter]:
    core.learned(module)
    weights = [p for p in module.parameters() if p.dim() > 1]
    core.expect_all(
        (not any(2 * channels in p.shape for p in weights), f"one of your layers takes 2·C = {2 * channels} numbers: "
         "mean and maximum are not joined (cat); each goes through the MLP by itself."),
        (len(weights) != 4, "there are two MLPs, four weight matrices: mean and maximum share one and the same MLP."),
    )  # fmt: skip
    return two_layers(module, channels, reduction, "the MLP")


def _channel_mistakes(x: torch.Tensor, w1: torch.Tensor, w2: torch.Tensor) -> list[tuple[torch.Tensor, str]]:
    def mlp(squeezed, between=torch.relu):
        return between(squeezed @ w1.T) @ w2.T

    def scale(gate):
        return x * gate[:, :, None, None]

    def squash(scores):
        return scale(scores.sigmoid())

    mean, most, flat = x.mean((2, 3)), x.amax((2, 3)), x.flatten(2)
    a, m = mlp(mean), mlp(most)
    both, plain, bare = a + m, (mean + most) @ w1.T @ w2.T, lambda v: v
    gate = both.sigmoid()
    mistakes = [
        (squash(m), "only the maximum goes through the MLP: the mean has its say as well."),
        *core.gate_mistakes(x, both[:, :, None, None]),
        (squash(plain), "there is no ReLU inside the MLP: two linear layers in a row are a single one."),
        (scale(plain), "neither a ReLU inside the MLP nor a sigmoid at the end: both are missing."),
        (squash(plain.relu()), "the ReLU stands behind the MLP: it belongs between its two layers."),
        (squash(a.relu()), "a ReLU in front of the sigmoid keeps every gate above 1/2."),
        (squash(a.relu() + m.relu()), "a ReLU stands behind the second layer, too: leave that one out."),
        (squash(a + mlp(most, bare)), "the ReLU is missing on the maximum's way through the MLP: both are the same."),
        (squash(mlp(mean, bare) + m), "the ReLU is missing on the mean's way through the MLP: both are the same."),
        (scale(a.sigmoid() + m.sigmoid()), "you squash first and add then: two sigmoids add up to anything from 0 to "
         "2. Add the two answers of the MLP, then take one sigmoid."),
        (scale((a.sigmoid() + m.sigmoid()) / 2), "you average two gates: add the two answers of the MLP first, then "
         "take one sigmoid."),
        (scale(a.sigmoid() * m.sigmoid()), "you multiply two gates (or apply one after the other): add the two answers "
         "of the MLP, then take one sigmoid."),
        (squash(torch.maximum(a, m)), "you take the larger of the two answers: they are added."),
        (squash(torch.minimum(a, m)), "you take the smaller of the two answers: they are added."),
        (squash(both / 2), "you average the two answers of the MLP: they are added, without dividing."),
        (squash(a * m), "you multiply the two answers of the MLP: they are added."),
        (squash(a - m), "you subtract the two answers of the MLP: they are added."),
        (squash(m - a), "you subtract the two answers of the MLP: they are added."),
        (squash(mlp(mean + most)), "you add mean and maximum before the MLP: each goes through it by itself, and the "
         "two answers are added. With a ReLU inside, that is not the same."),
        (squash(mlp((mean + most) / 2)), "you average mean and maximum before the MLP: each goes through it by itself, "
         "and the two answers are added."),
        (squash(mean + most), "mean and maximum go straight into the sigmoid: the two layers are not used."),
        (squash(a), "only the mean goes through the MLP, that is SE: the maximum has its say as well."),
        (squash(2 * a), "you use the mean twice: the other summary is the maximum."),
        (squash(2 * m), "you use the maximum twice: the other summary is the mean."),
        (squash(mlp(x.sum((2, 3))) + m), "you add up without dividing by H·W: take the mean."),
        (squash(mlp(flat.median(2).values) + m), "you took the median for the mean."),
        (squash(mlp(x.relu().mean((2, 3))) + m), "you cut off negative values before the mean: leave x as it is."),
        (squash(a + mlp(flat.argmax(2).float())), "you took the *position* of the maximum: its value is wanted."),
        (squash(a + mlp(x.amax((1, 2, 3))[:, None].expand_as(mean))), "your maximum runs over the channels as well: "
         "each channel has its own."),
        (squash(a + mlp(x.amax((0, 2, 3))[None].expand_as(mean))), "your maximum runs over the images of the batch "
         "as well: each image has its own."),
        (squash(a + mlp(x.amax().expand_as(mean))), "your maximum is one number for the whole batch: each channel of "
         "each image has its own."),
        (scale(gate / gate.sum(1, keepdim=True)), "you divide the gates by their sum: channels then compete. Gates "
         "need no sum of 1."),
        (squash(both.mean(0, keepdim=True)), "you averaged over the batch: each image has gates of its own."),
        ((mean * gate)[:, :, None, None].expand_as(x), "you scaled the means: the gates weight x itself."),
        ((most * gate)[:, :, None, None].expand_as(x), "you scaled the maxima: the gates weight x itself."),
    ]  # fmt: skip
    for summary, idea in (
        (x.amin((2, 3)), "not the minimum."),
        (x.abs().amax((2, 3)), "of x itself, not of its absolute values."),
        (x.std((2, 3)), "not the standard deviation."),
        (flat.median(2).values, "not the median."),
        (x.sum((2, 3)), "not the sum."),
        (x.amax(2).mean(2), "yours takes the largest over H and then a mean over W."),
        (x.amax(3).mean(2), "yours takes the largest over W and then a mean over H."),
        (x.mean(2).amax(2), "yours averages over H before it takes the largest."),
        (x.mean(3).amax(2), "yours averages over W before it takes the largest."),
        (x.amax(1).mean((1, 2))[:, None].expand_as(mean), "yours runs over the channels."),
    ):
        mistakes.append((squash(a + mlp(summary)), f"the second summary is the maximum over all positions, {idea}"))
    for between, name in (
        *((torch.sigmoid, "a sigmoid"), (torch.tanh, "a tanh"), (F.relu6, "ReLU6, which stops at 6,")),
        *((F.gelu, "a GELU"), (F.silu, "a SiLU"), (F.leaky_relu, "a leaky ReLU")),
    ):
        idea = f"{name} stands inside the MLP: plain ReLU goes there."
        mistakes.append((squash(mlp(mean, between) + mlp(most, between)), idea))
    return mistakes


def _check_what_it_hears(module: nn.Module, x: torch.Tensor, gate: torch.Tensor) -> None:
    positions = x[0, 0].numel()
    shuffled = x.flatten(2)[:, :, torch.randperm(positions)].view_as(x)
    expect(
        same(call(module, shuffled) / shuffled, gate),
        "your gates change when the positions are shuffled: did mean and maximum both go over all of H and W?",
    )
    raised = x.flatten(2) - 3 / (positions - 1)  # one position up, all others down by as much in total: the mean stays
    raised[:, :, 0] += 3 + 3 / (positions - 1)
    raised = raised.view_as(x)
    expect(
        not torch.allclose(call(module, raised) / raised, gate, atol=1e-4, equal_nan=True),
        "your gates hear of the mean only: the maximum of each channel changes nothing.",
    )


# --------------------------------------------------------------------------------------------------- exercise 2
@exercise(
    "mean and maximum over the channels, a window of k × k positions, one gate per position: the spatial half of CBAM."
)
def check_spatial_attention(attempt: Callable) -> None:
    """Check exercise 2 of lesson 03: a class ``SpatialAttention(kernel_size)`` that keeps (B, C, H, W)."""
    for kernel_size, b, c, h, w in ((3, 3, 6, 5, 8), (5, 4, 5, 9, 7), (7, 3, 9, 4, 4), (1, 5, 3, 3, 5)):
        module = core.build_module(attempt, kernel_size, given=f"kernel_size={kernel_size}")
        x = _away_from_zero(b, c, h, w)
        _spatial_call(module, x)  # before the parameters are counted: what stops is the better message
        weight, bias = _window(module, kernel_size)
        shift = 0.0 if bias is None else 0.3
        with torch.no_grad():
            weight.copy_(torch.randn_like(weight) * (2 / kernel_size))
            if bias is not None:
                bias.fill_(shift)
        result = _spatial_call(module, x)
        core.expect_scaled(result, x, "a gate per position, and x keeps its shape.")
        orders = [weight.detach(), weight.detach().flip(1)]  # [mean, max] or [max, mean] is equally good: slices swap
        right = [kernel for kernel in orders if same(result, _spatial_reference(x, kernel, shift))]
        if not right:
            for kernel in orders:
                named_mistake(result, _spatial_reference(x, kernel, shift), _spatial_mistakes(x, kernel, shift))
        _check_map(module, x, result)
        expect(
            right,
            "one gate in (0, 1) per position and image, as it should be, but by another formula than "
            "σ(conv([mean, max])): go through it step by step.",
        )
        core.expect_learning(module, x, "the convolution")
        core.expect_one_image(module, x)
        more = _away_from_zero(b, c + 2, h, w)
        expect(
            same(_spatial_call(module, more), _spatial_reference(more, right[0], shift)),
            "with another number of channels the same module gives something else: mean and maximum over the channels "
            "leave two maps, however many channels there are.",
        )


def _spatial_reference(x: torch.Tensor, kernel: torch.Tensor, shift: float) -> torch.Tensor:
    summary = torch.stack([x.mean(1), x.amax(1)], 1)
    return x * (F.conv2d(summary, kernel, padding=kernel.shape[-1] // 2) + shift).sigmoid()


def _spatial_call(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The result; if the module stops, what its convolution was given says more than torch's message does."""
    with core.shapes_inside(module, nn.Conv1d, nn.Conv2d, nn.Linear) as (given, returned):
        try:
            result = call(module, x)
        except WrongIdea as idea:
            raise WrongIdea(_why_it_stopped(given, returned, x) or str(idea)) from None
    if returned and result.shape != x.shape:
        idea = _why_it_stopped(given, returned, x)
        expect(not idea, idea)
    return result


def _why_it_stopped(given: list, got: list, x: torch.Tensor) -> str:
    b, c, h, w = x.shape
    if not given:
        return ""
    part, shape = given[0]
    told = f"for x of shape {shape_of(*x.shape)} your convolution is given {shape_of(*shape)}"
    if isinstance(part, nn.Linear):
        return (
            "there is a linear layer: a gate per position comes from a convolution, whose window slides over positions."
        )
    if isinstance(part, nn.Conv1d):
        return "there is a 1-D convolution: a window of k × k positions needs nn.Conv2d."
    if shape == (b, 2, h, w):
        if part.in_channels != 2:
            return f"{told}: two maps, but it was built for {part.in_channels}. How many maps are left after pooling?"
        out = got[0] if got else (b, 1, h, w)
        if out[1:2] not in ((1,), (c,)):
            return f"your convolution gives {out[1]} maps: one gate per position is wanted, the same for all channels."
        if out[2:] != (h, w):
            return (
                f"for a map of {h} × {w} positions your convolution with k={part.kernel_size[0]} gives {out[2]} × "
                f"{out[3]}: the edges are lost or gained. Which padding keeps the size for an odd k?"
            )
        return ""
    if shape[1:] in ((2 * c, 1, 1), (c, 1, 1), (c, 2), (2, c), (2, c, 1), (2, 1, c), (2, 1, 1)) or shape == (2, b, c):
        return f"{told}: you pooled over the positions, and where is gone. Pool over the channels, dimension 1."
    unbatched = ((b, h, w), (2 * b, h, w), (b, 2 * h, w), (b, h, 2 * w))
    if shape in (*unbatched, (2, b, h, w), (2 * b, 1, h, w), (b, 1, 2 * h, w), (b, 1, h, 2 * w)):
        return f"{told}: mean and maximum belong side by side as two *channels*, (B, 2, H, W): join along dimension 1."
    if shape[1:] == (c, h, w) and part.in_channels != c:
        return f"{told}: all C channels. Pool over the channels first, which leaves two maps."
    if shape[1:] == (1, h, w) and part.in_channels == 2:
        return f"{told}: a single map. Mean *and* maximum are wanted, as two channels."
    return ""


def _window(module: nn.Module, k: int) -> tuple[nn.Parameter, nn.Parameter | None]:
    """The weight and the bias, if there is one, of the convolution; says what is wrong with them."""
    sizes = core.learned(module, "the convolution must be an attribute (self.conv = nn.Conv2d(…))")
    weights = [p for p in module.parameters() if p.dim() > 1]
    others = [p for p in module.parameters() if p.dim() <= 1]
    both_alone = len(weights) == 2 and all(p.shape[1] == 1 for p in weights)
    core.expect_all(
        (not both_alone, f"you have two convolutions, one for the mean and one for the maximum ({sizes}): one "
         "convolution reads both as two channels."),
        (len(weights) == 1, f"one convolution is enough; your parameters have shapes {sizes}."),
        (weights and weights[0].dim() == 4, f"your parameters have shapes {sizes}: a window of k × k positions over "
         "two maps, (1, 2, k, k), takes nn.Conv2d."),
    )  # fmt: skip
    (weight,) = weights
    out, per, *window = weight.shape
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    core.expect_all(
        (window == [k, k], f"with kernel_size={k} your window is {' × '.join(map(str, window))}: is kernel_size handed "
         "on?"),
        (per != 1 or out != 2, "each of the two maps is convolved alone (groups=2): one gate comes from both."),
        (per == 2, f"your convolution reads {per} map(s): it should read two, the mean and the maximum over the "
         "channels."),
        (out == 1, f"your convolution gives {out} maps: one gate per position is wanted, the same for all channels."),
        (len(others) <= 1 and all(p.shape == (1,) for p in others), "beside the convolution there are other parameters "
         f"({sizes}); 2·k² and perhaps one bias are enough, no norm."),
        (not norms, "there is a batch norm: the paper's code has one, but here the convolution goes straight into the "
         "sigmoid."),
    )  # fmt: skip
    return weight, others[0] if others else None


def _spatial_mistakes(x: torch.Tensor, kernel: torch.Tensor, shift: float) -> list[tuple[torch.Tensor, str]]:
    pad = kernel.shape[-1] // 2

    def scores(one, two, mode="constant"):  # (B, 1, H, W)
        return F.conv2d(F.pad(torch.stack([one, two], 1), (pad,) * 4, mode=mode), kernel) + shift

    def squash(one, two, mode="constant"):
        return x * scores(one, two, mode).sigmoid()

    mean, most, least, size = x.mean(1), x.amax(1), x.amin(1), x.abs()
    score = scores(mean, most)
    gate = score.sigmoid()
    added, halves = mean + most, (mean + most) / 2
    over_rows = [v[:, None].expand_as(mean) for v in (x.mean((1, 2)), x.amax((1, 2)))]
    over_columns = [v[:, :, None].expand_as(mean) for v in (x.mean((1, 3)), x.amax((1, 3)))]
    neighbours = F.avg_pool2d(x, 3, 1, 1).mean(1), F.max_pool2d(x, 3, 1, 1).amax(1)
    compete = (
        "your map is a softmax over the positions, which compete for a sum of 1; a sigmoid lets each open or close."
    )
    lost = "your map is reduced to one number: where is lost."
    mixed = "you mixed mean and maximum before the convolution: it reads them as two maps, each with its own slice."
    mistakes = [
        (x, "x comes out as it went in: is the map used? (A softmax over a single map is 1 everywhere.)"),
        (x + gate, "you added the map to x: a gate multiplies."),
        (gate.expand_as(x), "you return the map itself: multiply x by it."),
        *core.gate_mistakes(x, score),
        (x * score.flatten(1).softmax(1).view_as(score), compete),
        (x * score.softmax(2), compete),
        (x * score.softmax(3), compete),
        (x * gate / gate.sum((2, 3), True), "you divide the map by its sum: positions then compete. Leave the gates as "
         "they are."),
        (x * gate / gate.amax((2, 3), True), "you divide the map by its largest value: leave the gates as they are."),
        (x * (score - score.mean((2, 3), True)).sigmoid(), "you subtract the mean score of the image: the score goes "
         "straight into the sigmoid."),
        (squash(halves, halves), mixed),
        (squash(added, added), mixed),
        (squash(*over_rows), "you pooled over H and over the channels: every position keeps numbers of its own."),
        (squash(*over_columns), "you pooled over W and over the channels: every position keeps its own numbers."),
        (squash(*neighbours), "you pooled over neighbouring positions as well: mean and maximum go over the channels "
         "only."),
        (squash(x[:, 0], x[:, 1]), "you took the first two channels instead of mean and maximum."),
        (squash(mean, x.argmax(1).float()), "your second map says *which* channel is largest (the indices): take the "
         "values of max."),
        (squash(mean.relu(), most.relu()), "you cut off negative values before the convolution: leave them in."),
        (squash(mean.sigmoid(), most.sigmoid()), "a sigmoid stands before the convolution as well: only at the end."),
        (x * scores(mean.sigmoid(), most.sigmoid()), "the sigmoid stands before the convolution: it belongs to the "
         "end."),
        (squash(mean.mean(0, True).expand_as(mean), most.mean(0, True).expand_as(most)), "you averaged over the batch: "
         "each image has a map of its own."),
        (x * score.mean(0, True).sigmoid(), "you averaged over the batch: each image has a map of its own."),
        (x * gate.mean((2, 3), True), lost),
        (x * score.mean((2, 3), True).sigmoid(), lost),
        (x * gate.amax((2, 3), True), lost),
        (mean[:, None] * gate.expand_as(x), "you gate the mean map: the gates weight x itself."),
        (most[:, None] * gate.expand_as(x), "you gate the maximum map: the gates weight x itself."),
    ]  # fmt: skip
    for one, two, yours in (
        (x.sum(1), most, "the sum: it would grow with the number of channels."),
        (mean, mean, "the mean twice."),
        (most, most, "the maximum twice."),
        (mean, least, "the minimum."),
        (least, most, "the minimum in place of the mean."),
        (mean, size.amax(1), "the maximum of the absolute values."),
        (size.mean(1), most, "the mean of the absolute values."),
        (size.mean(1), size.amax(1), "absolute values: signs should stay."),
        (mean, x.std(1), "the standard deviation."),
        (x.median(1).values, most, "the median."),
        (mean, x.norm(dim=1), "a norm."),
        (x.square().mean(1), most, "the mean of the squares."),
    ):
        idea = f"the two summaries are the mean and the maximum over the channels; yours has {yours}"
        mistakes.append((squash(one, two), idea))
    if x.shape[2] == x.shape[3]:
        turned = "H and W have changed places: is there a transpose or a view too many?"
        mistakes += [(x * gate.mT, turned), (squash(mean.mT, most.mT), turned)]
    if 0 < pad < min(x.shape[2:]):
        edge = (
            "inside you are right, but at the edges you pad with something else than zeros: leave padding_mode alone."
        )
        mistakes += [(squash(mean, most, mode), edge) for mode in ("reflect", "replicate", "circular")]
    if 0 < 2 * pad < min(x.shape[2:]):
        smaller = F.conv2d(torch.stack([mean, most], 1), kernel) + shift
        stretched = (
            "you stretch a smaller map to the size of x: padding keeps the size, and positions stay where they are."
        )
        for mode in ("nearest", "bilinear"):
            mistakes.append((x * F.interpolate(smaller, x.shape[2:], mode=mode).sigmoid(), stretched))
    return mistakes


def _check_map(module: nn.Module, x: torch.Tensor, result: torch.Tensor) -> None:
    core.expect_no_chance(module, x, result)
    gate, order = result / x, torch.randperm(x.shape[1])
    expect(
        core.even(gate, 1), "at one position your gate differs from channel to channel: a single map serves them all."
    )
    core.expect_alone(module, x, result, "pool over the channels only, no batch statistics.")
    expect(
        not core.even(gate, 2, 3),
        "all positions of an image get the same gate: pool over the channels, dimension 1, not over the positions.",
    )
    core.expect_gates(gate)
    expect(
        same(call(module, x[:, order]), result[:, order]),
        "your map changes when the channels change places: mean and maximum do not care for their order.",
    )
