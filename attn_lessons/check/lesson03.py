"""Exercises of lesson 03: the two halves of CBAM, channel attention and spatial attention."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from ..attention.se import start_in_pairs_
from .core import WrongIdea, call, exercise, expect, guarded, named_mistake, same, shape_of


# --------------------------------------------------------------------------------------------------- exercise 1
@exercise("mean and maximum through one MLP, one gate per channel: the channel half of CBAM, weight for weight.")
def check_channel_attention(attempt: Callable) -> None:
    """Check exercise 1 of lesson 03: a class ``ChannelAttention(channels, reduction)`` that keeps (B, C, H, W)."""
    for channels, reduction, b, h, w in ((32, 4, 3, 5, 7), (24, 8, 2, 6, 6), (16, 4, 16, 16, 16), (20, 8, 2, 1, 3)):
        module = _build(attempt, channels, reduction, given=f"channels={channels}, reduction={reduction}")
        x = _away_from_zero(b, channels, h, w)
        first, second = _shared_layers(module, channels, reduction)
        with torch.no_grad():  # moderate weights: no gate hides near 0.5, none is stuck at 0 or 1
            first.copy_(torch.randn_like(first) / channels**0.5 * 2)
            start_in_pairs_(first)
            second.copy_(torch.randn_like(second))
        w1, w2 = first.detach().reshape(-1, channels), second.detach().reshape(channels, -1)
        result = _call(module, x)
        _check_kept_shape(result, x, "a gate per channel")
        _check_channel_formula(result, x, w1, w2)
        _check_channel_gate(module, x, result)
        expect(
            same(result, _channel_reference(x, w1, w2)),
            "one gate in (0, 1) per channel and picture, as it should be, but by another formula than "
            "σ(MLP(mean) + MLP(max)): go through it step by step.",
        )
        _check_gradient(module, x, "your two layers")
        _check_single_picture(module, x[:1])
    _check_hidden_width(attempt)


def _channel_reference(x: torch.Tensor, w1: torch.Tensor, w2: torch.Tensor) -> torch.Tensor:
    def mlp(squeezed):
        return (squeezed @ w1.T).relu() @ w2.T

    return x * (mlp(x.mean((2, 3))) + mlp(x.amax((2, 3)))).sigmoid()[:, :, None, None]


def _shared_layers(module: nn.Module, channels: int, reduction: int) -> tuple[nn.Parameter, nn.Parameter]:
    hidden = channels // reduction
    sizes = [tuple(p.shape) for p in module.parameters() if p.requires_grad]
    expect(
        sizes,
        "your module has no parameters to learn: layers must be attributes (self.reduce = nn.Linear(…)), made in "
        "__init__; a plain list hides them.",
    )
    weights = [p for p in module.parameters() if p.dim() > 1]
    others = [p for p in module.parameters() if p.dim() <= 1]
    expect(
        not any(2 * channels in p.shape for p in weights),
        f"one of your layers takes 2·C = {2 * channels} numbers: mean and maximum are not joined (cat); each goes "
        "through the MLP by itself.",
    )
    expect(
        len(weights) != 4,
        "there are two MLPs, four weight matrices: mean and maximum share one and the same MLP.",
    )
    expect(
        len(weights) == 2,
        f"the MLP has two weight matrices, C → C // r and back; yours has {len(weights)}, all its parameters are "
        f"{sizes}.",
    )
    expect(
        {p.numel() for p in weights} == {channels * hidden},
        f"with channels={channels} and reduction={reduction} the hidden layer has {channels} // {reduction} = {hidden} "
        f"units; your weights have shapes {sizes}.",
    )
    expect(
        not others,
        f"your layers have biases (or a norm): {sum(p.numel() for p in module.parameters()):,} parameters instead of "
        f"2·C·(C // r) = {2 * channels * hidden:,}. In this exercise they have none: say bias=False.",
    )
    first, second = sorted(weights, key=lambda p: p.shape[0] != hidden)
    expect(
        first.shape[:2] == (hidden, channels) and second.shape[:2] == (channels, hidden),
        f"one layer should go from {channels} to {hidden} channels and the other back; yours have shapes {sizes}.",
    )
    return first, second


def _check_channel_formula(result: torch.Tensor, x: torch.Tensor, w1: torch.Tensor, w2: torch.Tensor) -> None:
    def mlp(squeezed, between=torch.relu):
        return between(squeezed @ w1.T) @ w2.T

    def scale(gate):
        return x * gate[:, :, None, None]

    mean, most, least = x.mean((2, 3)), x.amax((2, 3)), x.amin((2, 3))
    a, m = mlp(mean), mlp(most)
    both = a + m
    right = scale(both.sigmoid())
    plain = (mean + most) @ w1.T @ w2.T
    other = "the second summary is the maximum over all places, "
    mistakes = [
        (scale(both), "there is no sigmoid at the end: your gates can be negative or larger than 1."),
        (scale(plain.sigmoid()), "there is no ReLU inside the MLP: two linear layers in a row are a single one."),
        (scale(plain), "neither a ReLU inside the MLP nor a sigmoid at the end: both are missing."),
        (scale(plain.relu().sigmoid()), "the ReLU stands behind the MLP: it belongs between its two layers."),
        (scale(both.relu().sigmoid()), "a ReLU in front of the sigmoid keeps every gate above 1/2: only the hidden "
         "layer has one."),
        (scale(a.relu().sigmoid()), "a ReLU in front of the sigmoid keeps every gate above 1/2."),
        (scale(a.sigmoid() + m.sigmoid()), "you squash first and add then: two sigmoids add up to anything from 0 to "
         "2. Add the two answers of the MLP, then take one sigmoid."),
        (scale((a.sigmoid() + m.sigmoid()) / 2), "you average two gates: add the two answers of the MLP first, then "
         "take one sigmoid."),
        (scale(a.sigmoid() * m.sigmoid()), "you multiply two gates (or apply one after the other): add the two answers "
         "of the MLP, then take one sigmoid."),
        (scale(torch.maximum(a.sigmoid(), m.sigmoid())), "you take the larger of the two answers: they are added."),
        (scale(torch.minimum(a, m).sigmoid()), "you take the smaller of the two answers: they are added."),
        (scale((both / 2).sigmoid()), "you average the two answers of the MLP: they are added, without dividing."),
        (scale((a * m).sigmoid()), "you multiply the two answers of the MLP: they are added."),
        (scale((a - m).sigmoid()), "you subtract the two answers of the MLP: they are added."),
        (scale((m - a).sigmoid()), "you subtract the two answers of the MLP: they are added."),
        (scale(both.sigmoid().sigmoid()), "two sigmoids in a row: one is enough."),
        (scale(mlp(mean + most).sigmoid()), "you add mean and maximum before the MLP: each goes through it by itself, "
         "and the two answers are added. With a ReLU inside, that is not the same."),
        (scale(mlp((mean + most) / 2).sigmoid()), "you average mean and maximum before the MLP: each goes through it "
         "by itself, and the two answers are added."),
        (scale(mlp(torch.maximum(mean, most)).sigmoid()), "only the maximum goes through the MLP: the mean has its say "
         "as well."),
        (scale(((mean @ w1.T + most @ w1.T) / 2).relu() @ w2.T), "there is no sigmoid at the end."),
        (scale((a.relu() + m.relu()).sigmoid()), "a ReLU stands behind the second layer, too: it belongs between the "
         "two layers only."),
        (scale((mean + most).sigmoid()), "mean and maximum go straight into the sigmoid: the two layers are not used."),
        (scale((mlp(x.relu().mean((2, 3))) + m).sigmoid()), "you cut off negative values before the mean: leave x as "
         "it is."),
        (scale((a + mlp(x.flatten(2).argmax(2).to(x.dtype))).sigmoid()), "you took the *position* of the maximum: its "
         "value is wanted."),
        (scale((a + mlp(x.amax(1).mean((1, 2))[:, None].expand_as(mean))).sigmoid()), other + "yours runs over the "
         "channels."),
        (scale(both.sigmoid() / both.sigmoid().sum(1, keepdim=True)), "you divide the gates by their sum: channels "
         "then compete. Gates need no sum of 1."),
        ((mean * both.sigmoid())[:, :, None, None].expand_as(x), "you scaled the means: the gates weight x itself."),
        ((most * both.sigmoid())[:, :, None, None].expand_as(x), "you scaled the maxima: the gates weight x itself."),
        (scale(a.sigmoid()), "only the mean goes through the MLP, that is SE: the maximum has its say as well."),
        (scale((2 * a).sigmoid()), "you use the mean twice: the other summary is the maximum."),
        (scale((2 * m).sigmoid()), "you use the maximum twice: the other summary is the mean."),
        (scale((a + mlp(least)).sigmoid()), other + "not the minimum."),
        (scale((a + mlp(x.abs().amax((2, 3)))).sigmoid()), other + "of x itself, not of its absolute values."),
        (scale((a + mlp(x.amax(2).mean(2))).sigmoid()), other + "yours takes the largest over H and then a mean over "
         "W."),
        (scale((a + mlp(x.amax(3).mean(2))).sigmoid()), other + "yours takes the largest over W and then a mean over "
         "H."),
        (scale((a + mlp(x.mean(2).amax(2))).sigmoid()), other + "yours averages over H before it takes the largest."),
        (scale((a + mlp(x.mean(3).amax(2))).sigmoid()), other + "yours averages over W before it takes the largest."),
        (scale((a + mlp(x.std((2, 3)))).sigmoid()), other + "not the standard deviation."),
        (scale((a + mlp(x.flatten(2).median(2).values)).sigmoid()), other + "not the median."),
        (scale((a + mlp(x.sum((2, 3)))).sigmoid()), other + "not the sum."),
        (scale((a + mlp(x.amax((1, 2, 3))[:, None].expand_as(mean))).sigmoid()), "your maximum runs over the channels "
         "as well: each channel has its own."),
        (scale((a + mlp(x.amax((0, 2, 3))[None].expand_as(mean))).sigmoid()), "your maximum runs over the pictures of "
         "the batch as well: each picture has its own."),
        (scale((a + mlp(x.amax().expand_as(mean))).sigmoid()), "your maximum is one number for the whole batch: each "
         "channel of each picture has its own."),
        (scale((mlp(x.sum((2, 3))) + m).sigmoid()), "you add up without dividing by H·W: take the mean."),
        (scale((mlp(x.flatten(2).median(2).values) + m).sigmoid()), "you took the median for the mean."),
        (scale((mlp(mean, torch.sigmoid) + mlp(most, torch.sigmoid)).sigmoid()), "a sigmoid stands inside the MLP: "
         "ReLU goes there, and the sigmoid to the end."),
        (scale((mlp(mean, torch.tanh) + mlp(most, torch.tanh)).sigmoid()), "a tanh stands inside the MLP: ReLU goes "
         "there."),
        (scale((mlp(mean, F.relu6) + mlp(most, F.relu6)).sigmoid()), "that is ReLU6, which stops at 6: ReLU is meant."),
        (scale((mlp(mean, F.gelu) + mlp(most, F.gelu)).sigmoid()), "a GELU stands inside the MLP: ReLU goes there."),
        (scale((mlp(mean, F.silu) + mlp(most, F.silu)).sigmoid()), "a SiLU stands inside the MLP: ReLU goes there."),
        (scale((mlp(mean, lambda v: F.leaky_relu(v, 0.01)) + mlp(most, lambda v: F.leaky_relu(v, 0.01))).sigmoid()),
         "a leaky ReLU stands inside the MLP: plain ReLU goes there."),
        (scale(((mean @ w1.T).relu() @ w2.T + most @ w1.T @ w2.T).sigmoid()), "the ReLU is missing on the maximum's "
         "way through the MLP: both ways are the same."),
        (scale((mean @ w1.T @ w2.T + m).sigmoid()), "the ReLU is missing on the mean's way through the MLP: both ways "
         "are the same."),
        (scale(both.softmax(1)), "your gates come from a softmax, so channels compete for a sum of 1; a sigmoid lets "
         "each open or close by itself."),
        (scale(both.tanh()), "your gates come from tanh and may be negative: a sigmoid keeps them in (0, 1)."),
        (scale(both.relu()), "your gates come from a ReLU and have no upper end: a sigmoid keeps them in (0, 1)."),
        (scale(F.hardsigmoid(both)), "that is a hard sigmoid; the smooth one is meant."),
        (scale(both.mean(0, keepdim=True).sigmoid()), "you averaged over the batch: each picture has gates of its "
         "own."),
        (scale(both.sigmoid()[:1]), "every picture got the gates of the first one: each has gates of its own."),
        (scale(1 - both.sigmoid()), "open and closed are turned round: multiply by the gate, not by 1 − gate."),
        (scale(both.sigmoid().square()), "the gate is applied twice."),
        (x + right, "you added x once more (a residual): the module scales x, so a gate near 0 silences a channel."),
        (x + both.sigmoid()[:, :, None, None], "you added the gate to x: scaling multiplies."),
        (both.sigmoid()[:, :, None, None].expand_as(x), "you return the gates themselves: multiply x by them."),
    ]  # fmt: skip
    if not same(m, (2 * m)):  # max alone and the mistakes before it must not be confused
        mistakes.insert(0, (scale(m.sigmoid()), "only the maximum goes through the MLP: the mean has its say as well."))
    named_mistake(result, right, mistakes)


def _check_channel_gate(module: nn.Module, x: torch.Tensor, result: torch.Tensor) -> None:
    _check_no_chance(module, x, result)
    gate = result / x
    if x[0, 0].numel() > 1:
        expect(
            torch.allclose(gate, gate.mean((2, 3), keepdim=True).expand_as(gate), atol=1e-4),
            "within one channel your gate differs from place to place: mean and maximum both go over H and W, so that "
            "a channel gets one gate.",
        )
    others = torch.cat([x[:1], x[1:].flip(1)])  # the same first picture among other pictures
    expect(
        torch.allclose(call(module, others)[:1], result[:1], atol=1e-4),
        "the result for a picture changes with the other pictures in its batch: compute over (H, W) only, no batch "
        "statistics.",
    )
    expect(
        (gate > -1e-6).all() and (gate < 1 + 1e-6).all(),
        "some of your gates lie outside (0, 1): which function squashes any number into that range?",
    )
    shuffled = x.flatten(2)[:, :, torch.randperm(x[0, 0].numel())].view_as(x)
    expect(
        same(call(module, shuffled) / shuffled, gate),
        "your gates change when the places are shuffled: did mean and maximum both go over all of H and W?",
    )
    other = x.flip(1) * 1.5
    expect(
        not torch.allclose(call(module, other) / other, gate, atol=1e-4),
        "your gates do not depend on the picture: its mean and maximum must go through the MLP.",
    )
    if x[0, 0].numel() == 1:
        return
    raised = x.flatten(2).clone()  # one place up, all others down by as much in total: the mean stays
    raised -= 3 / (raised.shape[2] - 1)
    raised[:, :, 0] += 3 + 3 / (raised.shape[2] - 1)
    raised = raised.view_as(x)
    expect(
        not torch.allclose(call(module, raised) / raised, gate, atol=1e-4, equal_nan=True),
        "your gates hear of the mean only: the maximum of each channel changes nothing.",
    )


def _check_hidden_width(attempt: Callable) -> None:
    """With r > C, C // r is 0: refusing is fine, keeping a unit is fine, a gate of 0.5 for ever is not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of a layer without units; our sentence says more
            module = attempt(4, 16)
        x = torch.rand(2, 4, 3, 3) + 0.5
        stuck = torch.allclose(module(x), 0.5 * x) and torch.allclose(module(2 * x), x)
        hidden = min((size for p in module.parameters() for size in p.shape), default=0)
    except ValueError:
        return
    except Exception:
        stuck, hidden = True, 0
    expect(
        hidden > 0 or not stuck,
        "nearly there: with channels=4 and reduction=16, 4 // 16 leaves no hidden unit. Keep at least one unit, or "
        "raise a ValueError.",
    )


# --------------------------------------------------------------------------------------------------- exercise 2
@exercise("mean and maximum over the channels, a window of k × k places, one gate per place: the spatial half of CBAM.")
def check_spatial_attention(attempt: Callable) -> None:
    """Check exercise 2 of lesson 03: a class ``SpatialAttention(kernel_size)`` that keeps (B, C, H, W)."""
    for kernel_size, b, c, h, w in ((3, 3, 6, 5, 8), (5, 4, 5, 9, 7), (7, 3, 9, 4, 4), (1, 5, 3, 3, 5)):
        module = _build(attempt, kernel_size, given=f"kernel_size={kernel_size}")
        x = _away_from_zero(b, c, h, w)
        result = _spatial_call(module, x)  # before the parameters are counted: what stops is the better message
        weight, bias = _window(module, kernel_size, c)
        with torch.no_grad():
            weight.copy_(torch.randn_like(weight) * (2 / kernel_size))
            if bias is not None:
                bias.fill_(0.3)
        result = _spatial_call(module, x)
        _check_kept_shape(result, x, "a gate per place")
        kernel, shift = weight.detach(), 0.0 if bias is None else 0.3
        orders = [kernel, kernel.flip(1)]  # [mean, max] and [max, mean] are equally good: the slices swap
        for k in orders:
            if same(result, _spatial_reference(x, k, shift)):
                break
        else:
            for k in orders:
                _check_spatial_formula(result, x, k, shift)
            _check_map(module, x, result)
            raise WrongIdea(
                "one gate in (0, 1) per place and picture, as it should be, but by another formula than "
                "σ(conv([mean, max])): go through it step by step."
            )
        _check_map(module, x, result)
        _check_gradient(module, x, "the convolution")
        _check_single_picture(module, x[:1])
        more = _away_from_zero(b, c + 2, h, w)
        expect(
            same(_spatial_call(module, more), _spatial_reference(more, k, shift)),
            "with another number of channels the same module gives something else: mean and maximum over the channels "
            "leave two maps, however many channels there are.",
        )


def _spatial_reference(x: torch.Tensor, kernel: torch.Tensor, shift: float) -> torch.Tensor:
    summary = torch.stack([x.mean(1), x.amax(1)], 1)
    return x * (F.conv2d(summary, kernel, padding=kernel.shape[-1] // 2) + shift).sigmoid()


def _spatial_call(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The result; if the module stops, what its convolution was given says more than torch's message does."""
    given: list[tuple[nn.Module, tuple[int, ...]]] = []
    got: list[tuple[int, ...]] = []

    def before(part, inputs):
        if inputs and isinstance(inputs[0], torch.Tensor):
            given.append((part, tuple(inputs[0].shape)))

    def after(part, inputs, output):
        if isinstance(output, torch.Tensor):
            got.append(tuple(output.shape))

    hooks = []
    for part in module.modules():
        if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Linear):
            hooks += [part.register_forward_pre_hook(before), part.register_forward_hook(after)]
    try:
        result = _call(module, x)
    except WrongIdea as idea:
        raise WrongIdea(_why_it_stopped(given, got, x) or str(idea)) from None
    finally:
        for hook in hooks:
            hook.remove()
    if got and result.shape != x.shape:
        idea = _why_it_stopped(given, got, x)
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
            "there is a linear layer: a gate per place comes from a convolution, whose window slides over the places."
        )
    if isinstance(part, nn.Conv1d):
        return "there is a 1-D convolution: a window of k × k places needs nn.Conv2d."
    if shape == (b, 2, h, w):
        if part.in_channels != 2:
            return f"{told}: two maps, but it was built for {part.in_channels}. How many maps are left after pooling?"
        out = got[0] if got else (b, 1, h, w)
        if out[1:2] not in ((1,), (c,)):
            return f"your convolution gives {out[1]} maps: one gate per place is wanted, the same for all channels."
        if out[2:] != (h, w):
            return (
                f"for a map of {h} × {w} places your convolution with k={part.kernel_size[0]} gives {out[2]} × {out[3]}"
                ": the edges are lost or gained. Which padding keeps the size for an odd k?"
            )
        return ""
    if shape[1:] in ((2 * c, 1, 1), (c, 1, 1), (c, 2), (2, c), (2, c, 1), (2, 1, c), (2, 1, 1)) or shape == (2, b, c):
        return f"{told}: you pooled over the places, and where is gone. Pool over the channels, dimension 1."
    unbatched = ((b, h, w), (2 * b, h, w), (b, 2 * h, w), (b, h, 2 * w))
    if shape in (*unbatched, (2, b, h, w), (2 * b, 1, h, w), (b, 1, 2 * h, w), (b, 1, h, 2 * w)):
        return f"{told}: mean and maximum belong side by side as two *channels*, (B, 2, H, W): join along dimension 1."
    if shape[1:] == (c, h, w) and part.in_channels != c:
        return f"{told}: all C channels. Pool over the channels first, which leaves two maps."
    if shape[1:] == (1, h, w) and part.in_channels == 2:
        return f"{told}: a single map. Mean *and* maximum are wanted, as two channels."
    return ""


def _window(module: nn.Module, k: int, channels: int) -> tuple[nn.Parameter, nn.Parameter | None]:
    sizes = [tuple(p.shape) for p in module.parameters() if p.requires_grad]
    expect(
        sizes,
        "your module has no parameters to learn: the convolution must be an attribute (self.conv = nn.Conv2d(…)), made "
        "in __init__; a plain list hides it.",
    )
    weights = [p for p in module.parameters() if p.dim() > 1]
    others = [p for p in module.parameters() if p.dim() <= 1]
    expect(
        not (len(weights) == 2 and all(p.shape[1] == 1 for p in weights)),
        f"you have two convolutions, one for the mean and one for the maximum ({sizes}): one convolution reads both as "
        "two channels.",
    )
    expect(len(weights) == 1, f"one convolution is enough; your parameters have shapes {sizes}.")
    (weight,) = weights
    expect(
        weight.dim() == 4,
        f"your weight has shape {tuple(weight.shape)}: a window of k × k places over two maps, (1, 2, k, k), "
        "takes nn.Conv2d.",
    )
    out, per, *window = weight.shape
    expect(
        tuple(window) == (k, k),
        f"with kernel_size={k} your window is {' × '.join(map(str, window))}: is kernel_size handed on?",
    )
    expect(per != 1 or out != 2, "each of the two maps is convolved alone (groups=2): one gate comes from both.")
    expect(
        per == 2,
        f"your convolution reads {per} map(s): it should read two, the mean and the maximum over the channels.",
    )
    expect(
        out == 1,
        f"your convolution gives {out} maps: one gate per place is wanted, the same for all channels.",
    )
    expect(
        len(others) <= 1 and all(p.shape == (1,) for p in others),
        f"beside the convolution there are other parameters ({sizes}); 2·k² and perhaps one bias are enough, no norm.",
    )
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    expect(
        not norms,
        "there is a batch norm: the paper's code has one, but here the convolution goes straight into the sigmoid.",
    )
    return weight, others[0] if others else None


def _check_spatial_formula(result: torch.Tensor, x: torch.Tensor, kernel: torch.Tensor, shift: float) -> None:
    pad = kernel.shape[-1] // 2

    def scores(one, two, mode="constant"):
        return F.conv2d(F.pad(torch.stack([one, two], 1), (pad,) * 4, mode=mode), kernel) + shift  # (B, 1, H, W)

    mean, most = x.mean(1), x.amax(1)
    score = scores(mean, most)
    gate = score.sigmoid()
    right = x * gate
    summary = "the two summaries are the mean and the maximum over the channels; yours has "
    mistakes = [
        (x, "x comes out as it went in: is the map used? (A softmax over a single map is 1 everywhere.)"),
        (x * score, "there is no sigmoid behind the convolution: your gates can be negative or larger than 1."),
        (x * score.relu(), "your gates come from a ReLU and have no upper end: a sigmoid keeps them in (0, 1)."),
        (x * score.relu().sigmoid(), "a ReLU in front of the sigmoid keeps every gate above 1/2: leave it out."),
        (x * score.tanh(), "your gates come from tanh and may be negative: a sigmoid keeps them in (0, 1)."),
        (x * score.flatten(1).softmax(1).view_as(score), "your map is a softmax over the places, which compete for a "
         "sum of 1; a sigmoid lets each open or close by itself."),
        (x * score.softmax(2), "your gates are a softmax: a sigmoid lets each place open or close by itself."),
        (x * score.softmax(3), "your gates are a softmax: a sigmoid lets each place open or close by itself."),
        (x * F.hardsigmoid(score), "that is a hard sigmoid; the smooth one is meant."),
        (x * gate.sigmoid(), "two sigmoids in a row: one is enough."),
        (x * gate * gate, "the gate is applied twice."),
        (x * (1 - gate), "open and closed are turned round: multiply by the gate, not by 1 − gate."),
        (x + right, "you added x once more (a residual): a gate near 0 should silence a place."),
        (x + gate, "you added the map to x: a gate multiplies."),
        (gate.expand_as(x), "you return the map itself: multiply x by it."),
        (x * scores(x.sum(1), most).sigmoid(), summary + "the sum: it would grow with the number of channels."),
        (x * scores(mean, mean).sigmoid(), summary + "the mean twice."),
        (x * scores(most, most).sigmoid(), summary + "the maximum twice."),
        (x * scores(mean, x.amin(1)).sigmoid(), summary + "the minimum."),
        (x * scores(x.amin(1), most).sigmoid(), summary + "the minimum in place of the mean."),
        (x * scores(mean, x.abs().amax(1)).sigmoid(), summary + "the maximum of the absolute values."),
        (x * scores(x.abs().mean(1), most).sigmoid(), summary + "the mean of the absolute values."),
        (x * scores(x.abs().mean(1), x.abs().amax(1)).sigmoid(), summary + "absolute values: signs should stay."),
        (x * scores(mean, x.std(1)).sigmoid(), summary + "the standard deviation."),
        (x * scores(x.median(1).values, most).sigmoid(), summary + "the median."),
        (x * scores(mean, x.norm(dim=1)).sigmoid(), summary + "a norm."),
        (x * scores(mean, x.argmax(1).to(x.dtype)).sigmoid(), "your second map says *which* channel is largest (the "
         "indices): take the values of max."),
        (x * scores(x.square().mean(1), most).sigmoid(), summary + "the mean of the squares."),
        (x * scores((mean + most) / 2, (mean + most) / 2).sigmoid(), "you mixed mean and maximum before the "
         "convolution: it reads them as two maps, each with a slice of the kernel."),
        (x * scores(mean + most, mean + most).sigmoid(), "you added mean and maximum before the convolution: it reads "
         "them as two maps, each with a slice of the kernel."),
        (x * scores(x.mean((1, 2))[:, None].expand_as(mean), x.amax((1, 2))[:, None].expand_as(mean)).sigmoid(),
         "you pooled over H as well as over the channels: every place keeps numbers of its own."),
        (x * scores(x.mean((1, 3))[:, :, None].expand_as(mean), x.amax((1, 3))[:, :, None].expand_as(mean)).sigmoid(),
         "you pooled over W as well as over the channels: every place keeps numbers of its own."),
        (x * scores(F.avg_pool2d(x, 3, 1, 1).mean(1), F.max_pool2d(x, 3, 1, 1).amax(1)).sigmoid(), "you pooled over "
         "neighbouring places as well: mean and maximum go over the channels only."),
        (x * (score - score.mean((2, 3), True)).sigmoid(), "you subtract the mean score of the picture: the score goes "
         "straight into the sigmoid."),
        (x * scores(x[:, 0], x[:, 1]).sigmoid(), "you took the first two channels instead of mean and maximum."),
        (x * scores(mean.relu(), most.relu()).sigmoid(), "you cut off negative values before the convolution: leave "
         "them as they are."),
        (x * scores(mean.sigmoid(), most.sigmoid()).sigmoid(), "a sigmoid stands before the convolution as well: only "
         "the end has one."),
        (x * scores(mean.sigmoid(), most.sigmoid()), "the sigmoid stands before the convolution: it belongs to the "
         "end."),
        (x * gate[:1], "every picture got the map of the first one: each has a map of its own."),
        (x * scores(mean.mean(0, True), most.mean(0, True)).sigmoid(), "you averaged over the batch: each picture has "
         "a map of its own."),
        (x * score.mean(0, True).sigmoid(), "you averaged over the batch: each picture has a map of its own."),
        (x * gate.mean((2, 3), True), "your map is averaged to one number: where is lost."),
        (x * score.mean((2, 3), True).sigmoid(), "your map is averaged to one number: where is lost."),
        (x * gate.amax((2, 3), True), "your map is reduced to its largest number: where is lost."),
        (x * gate / gate.sum((2, 3), True), "you divide the map by its sum: places then compete. A gate needs no "
         "sum of 1."),
        (x * gate / gate.amax((2, 3), True), "you divide the map by its largest value: leave the gates as they are."),
        (mean[:, None] * gate.expand_as(x), "you gate the mean map: the gates weight x itself."),
        (most[:, None] * gate.expand_as(x), "you gate the maximum map: the gates weight x itself."),
    ]  # fmt: skip
    if x.shape[2] == x.shape[3]:
        turned = "H and W have changed places: is there a transpose or a view too many?"
        mistakes += [(x * gate.mT, turned), (x * scores(mean.mT, most.mT).sigmoid(), turned)]
    if 0 < pad < min(x.shape[2:]):
        edge = (
            "inside you are right, but at the edges you pad with something else than zeros: leave padding_mode alone."
        )
        mistakes += [(x * scores(mean, most, mode).sigmoid(), edge) for mode in ("reflect", "replicate", "circular")]
    if x.shape[2] > 1 and pad:
        smaller = F.conv2d(torch.stack([mean, most], 1), kernel) + shift if min(x.shape[2:]) > 2 * pad else None
        if smaller is not None:
            for mode in ("nearest", "bilinear"):
                mistakes.append(
                    (
                        x * F.interpolate(smaller, x.shape[2:], mode=mode).sigmoid(),
                        "you stretch a smaller "
                        "map to the size of x: padding keeps the size, and the places stay where they are.",
                    )
                )
    named_mistake(result, right, mistakes)


def _check_map(module: nn.Module, x: torch.Tensor, result: torch.Tensor) -> None:
    _check_no_chance(module, x, result)
    gate = result / x
    expect(
        torch.allclose(gate, gate.mean(1, keepdim=True).expand_as(gate), atol=1e-4),
        "at one place your gate differs from channel to channel: a single map serves all channels.",
    )
    others = torch.cat([x[:1], x[1:].flip(3) * 1.5])
    expect(
        torch.allclose(call(module, others)[:1], result[:1], atol=1e-4),
        "the result for a picture changes with the other pictures in its batch: pool over the channels only, no batch "
        "statistics.",
    )
    expect(
        not torch.allclose(gate, gate.mean((2, 3), keepdim=True).expand_as(gate), atol=1e-4),
        "all places of a picture get the same gate: pool over the channels, dimension 1, not over the places.",
    )
    expect(
        (gate > -1e-6).all() and (gate < 1 + 1e-6).all(),
        "some of your gates lie outside (0, 1): which function squashes any number into that range?",
    )
    order = torch.randperm(x.shape[1])
    expect(
        same(call(module, x[:, order]), result[:, order]),
        "your map changes when the channels change places: mean and maximum do not care for their order.",
    )


# --------------------------------------------------------------------------------------------------- both
def _away_from_zero(*shape: int) -> torch.Tensor:
    """Numbers of both signs, none near 0, so that result / x tells the gate; mean and maximum go their own ways."""
    each = (*shape[:2], 1, 1)
    sign = torch.where(torch.rand(shape) < torch.rand(each), -1.0, 1.0)
    return (torch.rand(shape) + 0.5) * sign * (0.4 + torch.rand(each))


def _build(attempt: Callable, *arguments: int, given: str) -> nn.Module:
    expect(
        not isinstance(attempt, nn.Module),
        "this is a module already built; hand over the class itself, without (…).",
    )
    module = guarded(attempt, *arguments, given=given)
    expect(module is not None, "your class gave None: is it a function without return?")
    expect(
        isinstance(module, nn.Module),
        "your class must inherit from nn.Module (and call super().__init__() first), or its weights are not found.",
    )
    expect(
        type(module).forward is not nn.Module.forward,
        "your class has no forward method: is it spelled forward, and indented inside the class?",
    )
    return module


def _check_kept_shape(result: torch.Tensor, x: torch.Tensor, gates: str) -> None:
    b, c, h, w = x.shape
    if x.numel() not in (b * c, b * h * w) and result.numel() in (b * c, b * h * w):
        raise WrongIdea(f"you return {gates} itself, shape {shape_of(*result.shape)}: multiply x by the gates.")
    expect(
        result.shape == x.shape,
        f"for x of shape {shape_of(*x.shape)} your result has shape {shape_of(*result.shape)}: {gates}, and x keeps "
        "its shape.",
    )


def _call(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """`call`, with one more sentence that torch's message lacks."""
    try:
        return call(module, x)
    except WrongIdea as idea:
        if "return_types.max" in str(idea):
            raise WrongIdea(
                "max over one dimension returns two things, the largest values and their positions: take .values, or "
                "use amax."
            ) from None
        raise


def _check_no_chance(module: nn.Module, x: torch.Tensor, result: torch.Tensor) -> None:
    expect(
        same(call(module, x), result),
        "two calls with the same x give two results: is there dropout or another source of chance in it?",
    )


def _check_gradient(module: nn.Module, x: torch.Tensor, learns: str) -> None:
    module.zero_grad()
    result = call(module, x.clone().requires_grad_())
    expect(result.requires_grad, "no gradient gets through your module: did you use no_grad, detach or .data?")
    result.square().sum().backward()
    reached = all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())
    expect(reached, f"no gradient reaches {learns}, so the gates never learn: did you detach something on the way?")


def _check_single_picture(module: nn.Module, x: torch.Tensor) -> None:
    try:
        kept = module(x).shape == x.shape
    except Exception:
        kept = False
    expect(
        kept,
        "with a batch of one picture your module fails: squeeze() takes every axis of size 1, the batch axis too.",
    )
