"""Self-, linear, efficient, Performer, Linformer and deformable attention: references, properties, costs."""

import copy
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.ops import deform_conv2d

from attn_lessons.attention import (
    DAttention,
    DeformableAttention,
    EfficientSelfAttention,
    LinearAttention,
    LinearSelfAttention,
    LinformerSelfAttention,
    PerformerSelfAttention,
    SelfAttention,
    watch,
)
from attn_lessons.attention.deformable import sample
from attn_lessons.attention.linear import EluPlusOne, feature_map, linear_attention
from attn_lessons.attention.performer import log_features, orthogonal_directions
from attn_lessons.measure import macs, parameters

pytestmark = pytest.mark.usefixtures("same_numbers_every_time")

sizes = st.integers(1, 9)


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def with_large_offsets(module: DeformableAttention, scale: float = 5.0) -> DeformableAttention:
    """At the start offsets are 0; these points go everywhere, many of them up to the edge."""
    nn.init.normal_(module.offset[-1].weight, std=scale)
    return module


FAMILY = {  # name → module for maps of h × w
    "self": lambda h, w, **o: SelfAttention(32, **o),
    "linear": lambda h, w, **o: LinearSelfAttention(32, **o),
    "efficient": lambda h, w, **o: EfficientSelfAttention(32, **o),
    "performer": lambda h, w, **o: PerformerSelfAttention(32, **o),
    "linformer": lambda h, w, **o: LinformerSelfAttention(32, size=(h, w), landmarks=6, **o),
    "deformable": lambda h, w, **o: DeformableAttention(32, **o),
    "deformable, table": lambda h, w, **o: DeformableAttention(32, position="table", size=(h, w), stride=2, **o),
}


# ------------------------------------------------------------------------------------------ trusted references
def self_and_torch(b, h, w, n):
    ours, x = SelfAttention(8 * n, num_heads=2 * n).double(), randn(b, 8 * n, h, w)
    theirs = nn.MultiheadAttention(8 * n, 2 * n, batch_first=True, dtype=torch.float64)
    projections = ours.query, ours.key, ours.value
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([layer.weight for layer in projections]))
        theirs.in_proj_bias.copy_(torch.cat([layer.bias for layer in projections]))
    theirs.out_proj.load_state_dict(ours.out.state_dict())
    tokens = x.flatten(2).mT
    return ours(x) - x, theirs(tokens, tokens, tokens)[0].mT.view_as(x)


def self_written_out(b, h, w, n):
    """Head by head and image by image, with nothing but matrix products and exp; queries and keys half as wide."""
    ours, x = SelfAttention(8 * n, num_heads=2, key_channels=4 * n).double(), randn(b, 8 * n, h, w)
    dataset = []
    for image in x:
        tokens, num_heads = image.reshape(8 * n, h * w).T, []
        q, k, v = (layer(tokens) for layer in (ours.query, ours.key, ours.value))
        for i in range(2):
            scores = (q[:, 2 * n * i :][:, : 2 * n] @ k[:, 2 * n * i :][:, : 2 * n].T / math.sqrt(2 * n)).exp()
            num_heads.append(scores / scores.sum(1, keepdim=True) @ v[:, 4 * n * i :][:, : 4 * n])
        dataset.append(ours.out(torch.cat(num_heads, 1)).T.reshape(8 * n, h, w))
    return ours(x), x + torch.stack(dataset)


def attend_and_weights(name):
    """`attend`, however it is computed, is ``weights @ v``: for the linear one, the quadratic form of its kernel."""

    def pair(b, h, w, n):
        module = FAMILY[name](h, w, num_heads=4).double()
        q, k, v = (randn(b, 4, h * w, 8) for _ in range(3))
        return module.attend(q, k, v), module.weights(q, k) @ v

    return pair


def linear_written_out(b, h, w, n):
    """Σ φ(q)·φ(k) v / Σ φ(q)·φ(k), query by query, with torch's own elu."""
    q, k, v = (randn(b, n, h * w, d) for d in (8, 8, 5))
    scores = torch.einsum("bhid,bhjd->bhij", F.elu(q) + 1, F.elu(k) + 1)
    expected = torch.einsum("bhij,bhjd->bhid", scores, v) / scores.sum(3)[..., None]
    return LinearSelfAttention(8 * n, n).double().attend(q, k, v), expected


def linformer_and_self(b, h, w, n):
    ours = LinformerSelfAttention(8 * n, (h, w), num_heads=2, landmarks=h * w).double()
    theirs, x = SelfAttention(8 * n, num_heads=2).double(), randn(b, 8 * n, h, w)
    with torch.no_grad():
        ours.mix_keys.copy_(torch.eye(h * w)), ours.mix_values.copy_(torch.eye(h * w))
    theirs.load_state_dict({name: value for name, value in ours.state_dict().items() if "mix" not in name})
    return ours(x), theirs(x)


def deformable_and_self(b, h, w, n):
    ours = DeformableAttention(8 * n, 4, 2, offset_range=0, position=None).double()
    theirs, x = SelfAttention(8 * n, 4).double(), randn(b, 8 * n, h, w)
    theirs.load_state_dict(ours.state_dict())
    return ours(x), theirs(x)


def sample_and_torchvision(b, h, w, n):
    """A 1×1 identity as a deformable convolution samples each channel where its offsets, y first, send it."""
    x, points = randn(b, n, h, w), torch.rand(b, h, w, 2, dtype=torch.float64) * torch.tensor([w - 1, h - 1])
    positions = torch.stack(torch.meshgrid(torch.arange(w), torch.arange(h), indexing="xy"), -1)
    offsets = (points - positions).flip(3).permute(0, 3, 1, 2).contiguous()
    return sample(x, points), deform_conv2d(x, offsets, torch.eye(n, dtype=torch.float64)[..., None, None])


def sample_by_hand(x: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """x (C, H, W) at (n, 2) points inside it, from the four positions around each: (C, n)."""
    left, top = points.floor().long().unbind(1)
    right, bottom = (left + 1).clamp(max=x.shape[2] - 1), (top + 1).clamp(max=x.shape[1] - 1)
    a, b = points[:, 0] - left, points[:, 1] - top
    upper, lower = ((1 - a) * x[:, y, left] + a * x[:, y, right] for y in (top, bottom))
    return (1 - b) * upper + b * lower


def weights_by_hand(module: DeformableAttention, x: torch.Tensor, points: torch.Tensor) -> tuple:
    """The softmax over points, (heads, N, n), and the values, (heads, n, d), of one image (C, H, W)."""
    channels, height, width = x.shape
    groups = x.unflatten(0, (module.groups, -1))
    sampled = torch.cat([sample_by_hand(groups[g], points[g].flatten(0, 1)) for g in range(module.groups)]).T
    query = module.query(x.flatten(1).T)  # (N, C)
    q, k, v = (t.unflatten(1, (module.num_heads, -1)).transpose(0, 1) for t in (query, module.key(sampled), sampled))
    v = module.value(sampled).unflatten(1, (module.num_heads, -1)).transpose(0, 1)
    scores = q @ k.mT / math.sqrt(channels // module.num_heads)
    if module.table is not None:
        positions = torch.tensor([(j, i) for i in range(height) for j in range(width)], dtype=x.dtype)
        for head in range(module.num_heads):
            at = points[head // (module.num_heads // module.groups)].flatten(0, 1)
            displacements = (positions[:, None] - at + torch.tensor([width - 1, height - 1])).flatten(0, 1)
            scores[head] += sample_by_hand(module.table[head, None], displacements).view(len(positions), -1)
    return scores.softmax(-1), v


def deformable_written_out(position):
    def pair(b, h, w, n):
        ours = DeformableAttention(8 * n, 4, 2, 1 + n % 3, position, (h, w)).double()
        ours, x, dataset = with_large_offsets(ours, 1.0), randn(b, 8 * n, h, w), []
        if position == "table":
            nn.init.normal_(ours.table)
        with watch(ours) as seen:
            out = ours(x)
        for image, points in zip(x, seen[""]["points"], strict=True):
            weights, v = weights_by_hand(ours, image, points)
            mixed = (weights @ v).transpose(0, 1).flatten(1)  # (N, C)
            if position == "conv":
                query = ours.query(image.flatten(1).T).T.view(1, 8 * n, h, w)
                mixed = mixed + ours.local(query)[0].flatten(1).T
            dataset.append(image + ours.out(mixed).T.view_as(image))
        return out, torch.stack(dataset)

    return pair


AGREEMENTS = {
    "self − x | torch MultiheadAttention": self_and_torch,
    "self | softmax written out": self_written_out,
    "linear attend | elu + 1 written out": linear_written_out,
    **{f"{name} attend | weights @ v": attend_and_weights(name) for name in list(FAMILY)[:6]},
    "Linformer, E = F = I | self": linformer_and_self,
    "deformable, no offsets | self": deformable_and_self,
    "sample | torchvision deform_conv2d": sample_and_torchvision,
    "deformable | written out": deformable_written_out(None),
    "deformable, conv | written out": deformable_written_out("conv"),
    "deformable, table | written out": deformable_written_out("table"),
}


@pytest.mark.parametrize("pair", AGREEMENTS)
@settings(max_examples=12, deadline=None)
@given(b=st.integers(1, 3), h=sizes, w=sizes, n=st.integers(1, 4))
def test_equals_a_trusted_reference_with_the_same_weights(pair, b, h, w, n):
    ours, theirs = AGREEMENTS[pair](b, h, w, n)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)


@settings(max_examples=12, deadline=None)
@given(h=st.integers(1, 6), w=st.integers(1, 6))
def test_the_table_has_a_bias_for_each_displacement(h, w):
    module = DeformableAttention(8, 4, 2, position="table", size=(h, w), offset_range=0).double()
    nn.init.normal_(module.table)
    with watch(module) as seen:
        module(randn(1, 8, h, w))
    positions = torch.tensor([(j, i) for i in range(h) for j in range(w)], dtype=torch.float64)
    bias = module.bias(positions, seen[""]["points"])
    for head, (i, (x, y)), (j, (u, v)) in itertools.product(
        range(4), *(list(enumerate(itertools.product(range(w), range(h)))) for _ in range(2))
    ):
        query, point = y * w + x, v * w + u
        expected = module.table[head, y - v + h - 1, x - u + w - 1]
        assert abs(bias[0, head, query, point] - expected) < 1e-12, (i, j)


# ------------------------------------------------------------------------------------------ positions
@pytest.mark.parametrize("name", FAMILY)
def test_norm_standardises_what_is_weighted_and_leaves_x_in_the_sum(name):
    normed, plain, x = FAMILY[name](5, 4, norm=True), FAMILY[name](5, 4), 3 * randn(2, 32, 5, 4).float() + 7
    state = normed.state_dict()
    plain.load_state_dict({key: value for key, value in state.items() if not key.startswith("norm")})
    assert sum(value.numel() for key, value in state.items() if key.startswith("norm")) == 2 * 32
    z = (x - x.mean((1, 2, 3), keepdim=True)) / (x.var((1, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(normed(x) - x, plain(z) - z, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["self", "linear", "efficient", "performer"])
@settings(max_examples=10, deadline=None)
@given(b=st.integers(1, 3), h=sizes, w=sizes)
def test_places_have_no_order(name, b, h, w):
    module, x, order = FAMILY[name](h, w).double(), randn(b, 32, h, w), torch.randperm(h * w)
    shuffled, expected = (t.flatten(2)[:, :, order].view_as(x) for t in (x, module(x)))
    torch.testing.assert_close(module(shuffled), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["linformer", "deformable", "deformable, table"])
def test_places_have_an_order_where_weights_belong_to_them(name):
    module, x, order = FAMILY[name](5, 4).double(), randn(2, 32, 5, 4), torch.randperm(20)
    shuffled, expected = (t.flatten(2)[:, :, order].view_as(x) for t in (x, module(x)))
    assert (module(shuffled) - expected).norm() > 0.01 * (expected - shuffled).norm()


# ------------------------------------------------------------------------------------------ rows
@pytest.mark.parametrize("name", FAMILY)
@settings(max_examples=8, deadline=None)
@given(b=st.integers(1, 3), h=sizes, w=sizes, data=st.data())
def test_a_row_is_that_of_the_weights_and_sums_to_one(name, b, h, w, data):
    module, x = FAMILY[name](h, w).double(), randn(b, 32, h, w)
    row, column = data.draw(st.integers(0, h - 1)), data.draw(st.integers(0, w - 1))
    with watch(module) as seen:
        module(x)
    seen = seen[""]
    weights = module.row(seen, row, column)
    if name.startswith("deformable"):
        expected = torch.stack([weights_by_hand(module, *one)[0] for one in zip(x, seen["points"], strict=True)])
        assert weights.shape == (b, 4, *seen["points"].shape[2:4])
    else:
        expected = module.weights(seen["query"].flatten(2, 3), seen["key"])
        assert weights.shape == (b, 4, h, w)
    torch.testing.assert_close(weights.flatten(2), expected[:, :, row * w + column], rtol=0, atol=1e-11)
    assert not weights.requires_grad
    if name != "linformer":  # its landmarks are mixtures with weights of either sign
        assert (weights >= 0).all()
        torch.testing.assert_close(weights.sum((2, 3)), torch.ones(b, 4, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", FAMILY)
def test_a_row_of_half_precision_sums_to_about_one(name):
    module, x = FAMILY[name](5, 4).bfloat16(), torch.randn(1, 32, 5, 4).bfloat16()
    with watch(module) as seen:
        module(x)
    weights = module.row(seen[""], 4, 3).float()
    assert weights.isfinite().all()
    if name != "linformer":
        assert (weights.sum((2, 3)) - 1).abs().max() < 0.03


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize(("row", "column", "words"), [(5, 0, "row=5 .* 0 to 4"), (-1, 0, "row=-1"), (0, 4, "column=4")])
def test_a_place_outside_the_map_is_refused(name, row, column, words):
    module = FAMILY[name](5, 4)
    with watch(module) as seen:
        module(torch.randn(1, 32, 5, 4))
    with pytest.raises(ValueError, match=words) as raised:
        module.row(seen[""], row, column)
    assert "\n" not in str(raised.value)


# ------------------------------------------------------------------------------------------ linear attention
def test_the_feature_map_is_elu_plus_one_and_never_zero():
    x = torch.linspace(-19, 19, 777, dtype=torch.float64)
    torch.testing.assert_close(feature_map(x), F.elu(x) + 1, rtol=1e-12, atol=1e-15)
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        features = feature_map(torch.tensor([-8.0, -20.0, -100.0, -1e4], dtype=dtype))
        assert features.dtype == torch.float32 and (features > 0).all()
    assert feature_map(torch.tensor(-8.0, dtype=torch.bfloat16)).item() == pytest.approx(math.exp(-8), rel=1e-6)


@pytest.mark.parametrize("feature_map", [feature_map, EluPlusOne.forward])  # the latter is what gets compiled
@pytest.mark.parametrize("x", [-19.0, -3.0, -1e-9, 0.0, 1e-9, 3.0])
def test_the_feature_map_has_the_slope_of_elu(x, feature_map):
    """At 0 as well: queries and keys that start at 0 would never learn."""
    x = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    (ours,) = torch.autograd.grad(feature_map(x).sum(), x)
    torch.testing.assert_close(ours, torch.autograd.grad(F.elu(x).sum(), x)[0], rtol=1e-12, atol=0)


def test_the_feature_maps_own_backward_pass():
    x = torch.tensor([-25.0, -20.5, -19.5, -3.0, -0.01, 0.01, 2.0, 30.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(feature_map, x) and torch.autograd.gradgradcheck(feature_map, x)


def test_fault_elsewhere_elu_plus_one_in_bf16_is_zero_at_minus_8():
    """A query whose features are all zero has no mean: 0 / 0. Ours stays a mean of the values."""
    x = torch.full((1, 1, 4, 8), -8.0, dtype=torch.bfloat16)
    features, v = F.elu(x) + 1, torch.randn(1, 1, 4, 8).bfloat16()
    assert (features == 0).all()
    assert (features @ (features.mT @ v) / (features @ features.sum(2)[..., None])).isnan().all()
    torch.testing.assert_close(LinearSelfAttention(8, 1).attend(x, x, v)[0, 0, 0], v[0, 0].float().mean(0))


@pytest.mark.parametrize("attend", ["linear", "efficient", "performer"])
def test_sums_over_many_places_are_not_taken_in_bf16(attend):
    """A running sum in bf16 stops at 256 ones; 16,384 positions must not matter."""
    module, (q, k) = FAMILY[attend](1, 1), torch.randn(2, 1, 4, 16384, 8).bfloat16()
    v = 1 + torch.randn(1, 4, 16384, 8).bfloat16()
    exact = module.double().attend(q.double(), k.double(), v.double())
    ours = module.bfloat16().attend(q, k, v)
    assert ours.dtype == torch.float32
    assert (ours - exact).norm() < 0.02 * exact.norm()


def test_linear_attention_takes_any_number_of_features_and_scales_out():
    q, k, v = torch.rand(2, 3, 7, 5).double(), torch.rand(2, 3, 11, 5).double(), randn(2, 3, 11, 4)
    expected = (q @ k.mT / (q @ k.mT).sum(3, keepdim=True)) @ v
    torch.testing.assert_close(linear_attention(q, k, v), expected)
    torch.testing.assert_close(linear_attention(3 * q, 1e-6 * k, v), expected)


def test_linear_attention_never_holds_all_pairs_of_places():
    """In an image of 224×224 they would take 9.4 GiB; this runs in a moment."""
    module, x = LinearAttention(8), torch.randn(1, 8, 224, 224)
    assert module(x).shape == x.shape


def test_fault_elsewhere_a_reshape_without_a_transpose_scrambles_the_places():
    """A popular listing reshapes the (B, N, C) result to (B, C, H, W) as it lies in memory."""
    attention, x, order = SelfAttention(32, 1).double(), randn(2, 32, 6, 5), torch.randperm(30)

    def scrambled(x):
        q, k, v = (
            attention.split(layer(x.flatten(2).mT)) for layer in (attention.query, attention.key, attention.value)
        )
        return attention.attend(q, k, v)[:, 0].reshape(x.shape)

    def error(f):
        expected = f(x).flatten(2)[:, :, order]
        return (f(x.flatten(2)[:, :, order].view_as(x)).flatten(2) - expected).norm() / expected.norm()

    assert error(scrambled) > 0.5
    single = copy.deepcopy(attention).float()
    x = x.float()
    assert error(lambda x: single(x) - x) < 1e-6


# ------------------------------------------------------------------------------------------ Performer
@pytest.mark.parametrize(("m", "d"), [(16, 16), (40, 16), (5, 16), (3, 1), (64, 8)])
def test_directions_are_at_right_angles_within_a_block(m, d):
    directions = orthogonal_directions(m, d)
    assert directions.shape == (m, d)
    for block in directions.split(d):
        units = F.normalize(block, dim=1)
        torch.testing.assert_close(units @ units.T, torch.eye(len(block)), rtol=0, atol=1e-5)


def test_directions_are_as_long_as_gaussian_vectors_and_point_anywhere():
    directions = orthogonal_directions(40_000, 16)
    assert directions.square().sum(1).mean().item() == pytest.approx(16, rel=0.01)  # standard error 0.028
    assert directions.mean(0).abs().max() < 5 / 200  # five standard errors
    covariance = directions.T @ directions / 40_000
    assert (covariance - torch.eye(16)).abs().max() < 0.04


def block_means(blocks: torch.Tensor, q: torch.Tensor, k: torch.Tensor) -> tuple[float, float]:
    """Mean and standard error of the estimates of exp(q·k), one a block of directions, over the truth."""
    products = (log_features(q, blocks.flatten(0, 1)) + log_features(k, blocks.flatten(0, 1))).exp()
    estimates = products.view(len(blocks), -1).mean(1) / (q @ k).exp()
    return estimates.mean().item(), (estimates.std() / len(blocks) ** 0.5).item()


Q = K = torch.full((16,), 0.25)  # q·k = 1; a bias shows where many signs agree


@pytest.mark.parametrize(("q", "k"), [(Q, K), (0.5 * K, -Q), (0.3 * torch.eye(16)[0], 0.9 * torch.eye(16)[0])])
def test_random_features_are_unbiased(q, k):
    """20,000 independent blocks: a mean further off than 4 standard errors comes by luck once in 16,000 times."""
    mean, error = block_means(orthogonal_directions(16 * 20_000, 16).view(-1, 16, 16), q, k)
    assert error < 0.03 and abs(mean - 1) < 4 * error


def test_fault_elsewhere_plain_qr_is_biased():
    """Q of a QR decomposition as the library returns it: here the mean is 0.72 of the truth, 20 standard errors off."""
    plain = torch.linalg.qr(torch.randn(20_000, 16, 16)).Q.mT * torch.randn(20_000, 16, 16).norm(dim=2, keepdim=True)
    mean, error = block_means(plain, Q, K)
    assert 0.68 < mean < 0.76 and mean < 1 - 10 * error


def test_more_features_come_closer_to_softmax():
    exact, (q, k, v) = SelfAttention(32), 0.5 * torch.randn(3, 2, 4, 50, 8)
    expected, errors = exact.attend(q, k, v), []
    for features in (8, 64, 512):
        performers = [PerformerSelfAttention(32, features=features) for _ in range(8)]
        errors.append(sum((p.attend(q, k, v) - expected).square().mean().item() for p in performers))
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_directions_are_saved_but_do_not_learn():
    module = PerformerSelfAttention(32, features=24)
    assert module.state_dict()["directions"].shape == (24, 8)
    assert "directions" not in dict(module.named_parameters())


# ------------------------------------------------------------------------------------------ deformable: points
strides = st.integers(1, 5)


def points_of(module: DeformableAttention, x: torch.Tensor) -> torch.Tensor:
    with watch(module) as seen:
        module(x)
    return seen[""]["points"]


@settings(max_examples=30, deadline=None)
@given(h=sizes, w=sizes, stride=strides)
def test_without_offsets_points_are_evenly_spread_about_the_middle(h, w, stride):
    module = DeformableAttention(8, stride=stride).double()  # offsets start at 0
    points, rows, columns = points_of(module, randn(2, 8, h, w)), -(-h // stride), -(-w // stride)
    assert points.shape == (2, 2, rows, columns, 2)
    fixed = DeformableAttention(8, stride=stride, offset_range=0).double()
    torch.testing.assert_close(points, points_of(fixed, randn(2, 8, h, w)), rtol=0, atol=1e-12)
    for axis, (size, n) in enumerate([(w, columns), (h, rows)]):
        along = points[0, 0].select(axis, 0)[:, axis]  # x along the first row, y along the first column
        torch.testing.assert_close(along + along.flip(0), torch.full_like(along, size - 1), rtol=0, atol=1e-12)
        torch.testing.assert_close(along.diff(), torch.full_like(along[1:], size / n), rtol=0, atol=1e-12)
        grid = along if axis == 0 else along[:, None]  # the same in every row, or column, group and image
        torch.testing.assert_close(points[..., axis], grid.expand_as(points[..., axis]), rtol=0, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(b=st.integers(1, 3), h=sizes, w=sizes, stride=strides)
def test_points_never_leave_the_image(b, h, w, stride):
    module = with_large_offsets(DeformableAttention(8, stride=stride, offset_range=10.0), 100.0)
    points = points_of(module, torch.randn(b, 8, h, w))
    assert (points >= 0).all() and (points <= torch.tensor([w - 1, h - 1])).all()


def test_points_move_no_further_than_the_range():
    module = with_large_offsets(DeformableAttention(8, stride=2, offset_range=1.5), 100.0)
    still = DeformableAttention(8, stride=2, offset_range=0)
    moved = (points_of(module, x := torch.randn(4, 8, 16, 12)) - points_of(still, x)).abs()
    assert moved.max() <= 3.0 + 1e-4 and moved.max() > 2.5


def test_groups_have_points_of_their_own():
    points = points_of(with_large_offsets(DeformableAttention(32, num_heads=4, groups=4)), torch.randn(1, 32, 6, 6))[0]
    assert all((points[a] != points[b]).any() for a, b in itertools.combinations(range(4), 2))


@settings(max_examples=15, deadline=None)
@given(h=sizes, w=sizes, stride=strides)
def test_a_constant_image_gives_that_constant_wherever_the_points_are(h, w, stride):
    colour = randn(1, 8, 1, 1)
    module = with_large_offsets(DeformableAttention(8, stride=stride, position=None).double(), 3.0)
    with watch(module) as seen:
        module(colour.expand(1, 8, h, w))
    keys = module.split(module.key(colour.flatten(1)[:, None]))  # (1, heads, 1, d)
    torch.testing.assert_close(seen[""]["key"], keys.expand_as(seen[""]["key"]), rtol=0, atol=1e-12)


def test_samples_between_places_beyond_the_edge_and_on_a_slope():
    x = torch.arange(20.0).view(1, 1, 4, 5)  # 5·y + x
    inside = torch.rand(1, 7, 3, 2) * torch.tensor([4.0, 3.0])
    torch.testing.assert_close(sample(x, inside)[0, 0], 5 * inside[0, ..., 1] + inside[0, ..., 0], rtol=0, atol=1e-5)
    outside = torch.tensor([[[[-3.0, 0.0], [9.0, 1.0], [2.0, -5.0], [9.0, 9.0]]]])
    assert sample(x, outside).flatten().tolist() == [0.0, 9.0, 2.0, 19.0]


def test_fault_elsewhere_a_reference_grid_that_is_off_moves_the_image():
    """Half steps divided by n − 1, as in the paper's released code, and no offset at all: points beyond the image."""
    x, n = randn(1, 3, 8, 8), 8
    steps = (torch.arange(n, dtype=torch.float64) + 0.5) / (n - 1) * 2 - 1
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)[None]
    assert (grid.abs() > 1).any(3).double().mean() == 15 / 64  # the last row and the last column
    assert (F.grid_sample(x, grid, align_corners=True) - x).norm() > 0.5 * x.norm()
    points = points_of(DeformableAttention(4, 2, 2, offset_range=0).double(), randn(1, 4, 8, 8))[:, 0]
    torch.testing.assert_close(sample(x, points), x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("position", ["conv", "table", None])
@pytest.mark.parametrize("offset_range", [0, 2.0])
def test_a_single_point_for_the_whole_image(position, offset_range):
    """With one key its weight is 1, whatever the query is."""
    module = DeformableAttention(8, 4, 2, 8, position, (5, 4), offset_range).double()
    x = randn(2, 8, 5, 4)
    with watch(module) as seen:
        module(x).square().sum().backward()
    assert seen[""]["points"].shape == (2, 2, 1, 1, 2)
    assert torch.equal(module.row(seen[""], 2, 3), torch.ones(2, 4, 1, 1, dtype=torch.float64))
    assert all(p.grad.isfinite().all() for p in module.parameters())


# ------------------------------------------------------------------------------------------ deformable: learning
@pytest.mark.parametrize("position", ["conv", "table", None])
def test_the_offsets_learn(position):
    module, x = DeformableAttention(32, 4, 2, 2, position, (6, 6)).double(), randn(2, 32, 6, 6)
    (module(x) * randn(2, 32, 6, 6)).sum().backward()
    assert module.offset[-1].weight.grad.abs().max() > 1e-9  # the first step: the last layer is 0
    module.offset[-1].reset_parameters()
    (module(x) * randn(2, 32, 6, 6)).sum().backward()
    for name, parameter in module.offset.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 1e-9, name


def test_offsets_start_at_zero_after_a_reset_as_well():
    module = with_large_offsets(DeformableAttention(8))
    module.reset_parameters()
    assert not module.offset[-1].weight.any() and module.offset[0].weight.any()


# ------------------------------------------------------------------------------------------ costs
@pytest.mark.parametrize(("c", "h", "w", "num_heads"), [(32, 5, 4, 4), (64, 8, 8, 8), (48, 7, 1, 3)])
def test_they_cost_what_their_notes_say(c, h, w, num_heads):
    n, b = h * w, 2
    shape, linears = (b, c, h, w), 4 * c**2 + 4 * c
    for module, parameters_, macs_ in (
        (SelfAttention(c, num_heads), linears, 4 * n * c**2 + 2 * n**2 * c),
        (LinearSelfAttention(c, num_heads), linears, 4 * n * c**2 + 2 * n * c**2 // num_heads),
        (EfficientSelfAttention(c, num_heads), linears, 4 * n * c**2 + 2 * n * c**2 // num_heads),
        (PerformerSelfAttention(c, num_heads, 24), linears, 4 * n * c**2 + 4 * n * 24 * c),
        (LinformerSelfAttention(c, (h, w), num_heads, 6), linears + 2 * 6 * n, 4 * n * c**2 + 4 * n * 6 * c),
    ):
        assert parameters(module) == parameters_, module
        assert macs(module, *shape) == b * macs_, module


@pytest.mark.parametrize(("stride", "kernel"), [(1, 3), (2, 5), (3, 7), (4, 7), (8, 9)])
@pytest.mark.parametrize("position", ["conv", "table", None])
@pytest.mark.parametrize(("c", "h", "w", "num_heads", "groups"), [(32, 9, 8, 4, 2), (48, 7, 1, 3, 1), (16, 5, 5, 8, 8)])
def test_deformable_attention_costs_what_its_notes_say(stride, kernel, position, c, h, w, num_heads, groups):
    module = DeformableAttention(c, num_heads, groups, stride, position, (h, w))
    positions, points = h * w, -(-h // stride) * -(-w // stride)
    table = num_heads * (2 * h - 1) * (2 * w - 1)
    width = c // groups
    assert (
        parameters(module)
        == 4 * (c**2 + c) + width * (kernel**2 + 5) + {"conv": 10 * c, "table": table, None: 0}[position]
    )
    expected = 2 * positions * c**2 + 2 * points * c**2 + 2 * positions * points * c + points * c * (kernel**2 + 2)
    assert macs(module, 1, c, h, w) == expected + (9 * positions * c if position == "conv" else 0)
    still = DeformableAttention(c, num_heads, groups, stride, position, (h, w), offset_range=0)
    assert parameters(module) - parameters(still) == width * (kernel**2 + 5)


def test_groups_save_nothing_and_strides_do():
    assert [macs(DAttention(64, (32, 32), 8, g), 1, 64, 32, 32) for g in (1, 2, 4, 8)] == [152_305_664] * 4
    assert macs(SelfAttention(64, 8), 1, 64, 32, 32) == 150_994_944
    work = [macs(DAttention(64, (32, 32), 8, 4, stride), 1, 64, 32, 32) for stride in (2, 4, 8)]
    assert [round(m / 1e6, 2) for m in work] == [45.07, 18.10, 11.29]


def test_a_table_has_far_more_parameters_than_a_convolution():
    conv, table, none = (
        parameters(DeformableAttention(64, 8, 4, position=position, size=(32, 32)))
        for position in ("conv", "table", None)
    )
    assert conv - none == 640 and table - none == 31_752


def test_what_linear_attention_adds_to_vgg16():
    """After each of the five blocks at 224×224: 17.65 − 15.47 GMAC, and 138,357,544 → 139,734,040 parameters."""
    work = weights = 0
    for channels, size in ((64, 224), (128, 112), (256, 56), (512, 28), (512, 14)):
        module = LinearAttention(in_dim=channels, reduction=8).to("meta")
        assert parameters(module) == 2.25 * channels**2 + 2.25 * channels
        work += macs(module, 1, channels, size, size)
        weights += parameters(module)
    assert round(work / 1e9, 2) == 2.18 == round(17.65 - 15.47, 2)
    assert weights == 139_734_040 - 138_357_544
