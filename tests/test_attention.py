"""What holds for every mechanism: shapes, dtypes, memory formats, compiling, saving, watching, and clear refusals.

What only some of them have is in test_gates.py and test_global_attention.py.
"""

import copy
import gc
import io
import pickle
import re
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from attn_lessons.attention import (
    MECHANISMS,
    CAAttention,
    CBAMAttention,
    DAttention,
    DeformableAttention,
    ECAAttention,
    EfficientChannelAttention,
    LinearAttention,
    SEAttention,
    SelfAttention,
    SpatialAttention,
    SqueezeExcitation,
    adaptive_kernel_size,
    build_attention,
    load_resized,
    watch,
)
from attn_lessons.attention.base import Attention, reset
from attn_lessons.attention.se import start_in_pairs_

pytestmark = pytest.mark.usefixtures("same_numbers_every_time")

sizes = st.integers(1, 9)
# Deformable attention has two ways to know positions; "deformable" is the other one.
WITH_TABLE = {"deformable, table": ("deformable", {"position": "table", "stride": 2})}
EVERY = [*MECHANISMS, *WITH_TABLE]
TRAINABLE = [name for name in EVERY if name != "none"]
ONE_SIZE = ["linformer", "deformable, table"]  # built for maps of one size
LOOKED_AT = {  # what `watch` shows of a map (B, 32, H, W): name of the module → name of the weights → shape
    "se": lambda b, h, w: {"": {"gate": (b, 32)}},
    "cbam": lambda b, h, w: {"channel": {"gate": (b, 32)}, "spatial": {"map": (b, h, w)}},
    "cbam_channel": lambda b, h, w: {"": {"gate": (b, 32)}},
    "cbam_spatial": lambda b, h, w: {"": {"map": (b, h, w)}},
    "eca": lambda b, h, w: {"": {"gate": (b, 32)}},
    "ca": lambda b, h, w: {"": {"row_gate": (b, 32, h), "column_gate": (b, 32, w)}},
    **dict.fromkeys(
        ["self", "linear", "efficient", "performer", "linformer"],
        lambda b, h, w: {"": {"query": (b, 4, h, w, 8), "key": (b, 4, h * w, 8)}},
    ),
    "deformable": lambda b, h, w: {"": {"query": (b, 4, h, w, 8), "key": (b, 4, h * w, 8), "points": (b, 2, h, w, 2)}},
}


def make(name: str, channels: int = 32, height: int = 5, width: int = 4, **options) -> nn.Module:
    """The mechanism of this name, told the size of the maps where it must know it."""
    mechanism, more = WITH_TABLE.get(name, (name, {}))
    if mechanism == "linformer" or more.get("position") == "table":
        more = more | {"size": (height, width)}
    return build_attention(mechanism, channels, **more | options)


def refused(error: type | tuple, call, *words: str) -> None:
    """`call` raises `error` with one sentence that has these words."""
    with pytest.raises(error) as raised:
        call()
    message = str(raised.value)
    assert all(word in message for word in words), message
    assert message.endswith(".") and not re.search(r"\n|\.\s", message), message


# ------------------------------------------------------------------------------------------ shapes and formats
@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=15, deadline=None)
@given(b=sizes, h=sizes, w=sizes, dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
def test_keeps_shape_dtype_and_memory_format(name, b, h, w, dtype):
    module, x = make(name, 32, h, w).to(dtype), torch.randn(b, 32, h, w, dtype=dtype)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        out = module(x.contiguous(memory_format=memory_format))
        assert out.shape == x.shape and out.dtype == dtype and out.isfinite().all()
        assert out.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("name", EVERY)
def test_strides_change_nothing(name):
    module, big = make(name).double().eval(), torch.randn(4, 64, 15, 12, dtype=torch.float64)
    for x in (
        big[::2, ::2, 1:11:2, ::3],  # a slice
        torch.randn(2, 32, 4, 5, dtype=torch.float64).mT,  # transposed
        torch.randn(2, 32, 5, 1, dtype=torch.float64).expand(-1, -1, -1, 4),  # columns that share their memory
    ):
        assert not x.is_contiguous()
        torch.testing.assert_close(module(x), module(x.contiguous()), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("training", [True, False])
def test_no_images_give_no_images(name, training):
    x = torch.zeros(0, 32, 5, 4)
    assert make(name).train(training)(x).shape == x.shape


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=5, deadline=None)
@given(b=sizes, h=sizes, w=sizes)
def test_an_image_does_not_see_its_neighbours_in_the_batch(name, b, h, w):
    module = make(name, 32, h, w).double().eval()
    x = torch.randn(b + 2, 32, h, w, dtype=torch.float64)
    torch.testing.assert_close(module(x)[:b], module(x[:b]), rtol=0, atol=1e-12)


# ------------------------------------------------------------------------------------------ numbers that are too large
@pytest.mark.parametrize("name", TRAINABLE)
@pytest.mark.parametrize("scale", [1, 100, 1000])
@pytest.mark.parametrize("half", ["autocast", "module"])
def test_bf16_is_finite_even_for_large_inputs(name, scale, half):
    module, x = make(name), scale * torch.randn(2, 32, 5, 4)
    if half == "module":
        module, x = module.bfloat16(), x.bfloat16()
    x.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=half == "autocast"):
        out = module(x)
    out.float().square().mean().backward()
    assert out.isfinite().all() and x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize("name", ["linear", "efficient", "performer"])
def test_fp16_autocast_is_about_as_exact_as_bf16(name):
    """Weights over thousands of positions are smaller than fp16 can tell from 0: no sum over them may be fp16."""
    module, x = make(name), 10 * torch.randn(1, 32, 64, 64)
    exact = copy.deepcopy(module).double()(x.double()) - x
    with torch.no_grad(), torch.autocast("cpu", torch.float16):
        error = (module(x) - x - exact).norm() / exact.norm()
    assert error < 0.03


# ------------------------------------------------------------------------------------------ learning
# Two biases are there to no effect: a softmax over all keys does not change when all scores of a query change alike,
# and batch normalisation takes off what has just been added everywhere.
NO_EFFECT = dict.fromkeys(["self", "efficient", "deformable", "deformable, table"], "key.bias") | {"ca": "reduce.bias"}


@pytest.mark.parametrize("name", TRAINABLE)
def test_every_parameter_learns(name):
    module, x = make(name).double(), torch.randn(2, 32, 5, 4, dtype=torch.float64, requires_grad=True)
    if name.startswith("deformable"):  # offsets start at 0, where only the last layer of their network learns
        module.offset[-1].reset_parameters()
    (module(x) * torch.randn_like(x)).sum().backward()
    assert x.grad.abs().max() > 0
    for parameter, value in module.named_parameters():
        largest = value.grad.abs().max()
        if parameter == NO_EFFECT.get(name):
            assert largest < 1e-12
        else:
            assert value.grad.isfinite().all() and largest > 1e-9, parameter


@pytest.mark.parametrize("name", TRAINABLE)
def test_compiles_to_one_graph_with_the_same_gradients(name):
    torch.compiler.reset()
    module, x = make(name).eval(), torch.randn(2, 32, 5, 4, requires_grad=True)
    expected, y = module(x), torch.compile(module, fullgraph=True, backend="aot_eager")(x)
    assert torch.allclose(y, expected, atol=1e-6)
    ours, theirs = (torch.autograd.grad(out.square().sum(), [x, *module.parameters()]) for out in (y, expected))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", TRAINABLE)
def test_exports_for_any_number_of_images(name):
    module, x = make(name).eval(), torch.randn(7, 32, 5, 4)
    any_number = ({0: torch.export.Dim.DYNAMIC},)
    exported = torch.export.export(module, (x[:2],), dynamic_shapes=any_number).module()
    for n in (2, 7):
        assert torch.allclose(exported(x[:n]), module(x[:n]), atol=1e-6)


ANY_SIZE = {  # name, options
    **{name: {} for name in TRAINABLE if name not in ONE_SIZE},
    "deformable, stride 2": {"stride": 2},
    "deformable, stride 3, no offsets": {"stride": 3, "offset_range": 0, "position": None},
}


@pytest.mark.parametrize("name", ANY_SIZE)
def test_exports_for_maps_of_any_size(name):
    module = make(name.partition(", ")[0], **ANY_SIZE[name]).eval()
    free = ({axis: torch.export.Dim.DYNAMIC for axis in (0, 2, 3)},)
    exported = torch.export.export(module, (torch.randn(2, 32, 6, 5),), dynamic_shapes=free).module()
    for shape in ((2, 32, 6, 5), (3, 32, 9, 14), (5, 32, 4, 17)):
        x = torch.randn(shape)
        torch.testing.assert_close(exported(x), module(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("way", ["compile", "export"])
def test_batch_statistics_are_the_same_when_compiled_and_exported(way):
    """Coordinate attention is the only one that keeps statistics while it trains."""
    torch.compiler.reset()
    eager, x = make("ca").train(), torch.randn(2, 32, 5, 4)
    other = copy.deepcopy(eager)
    if way == "compile":
        other = torch.compile(other, fullgraph=True, backend="aot_eager")
    else:
        other = torch.export.export(other, (x,)).module()
    assert torch.allclose(other(x), eager(x), atol=1e-6)
    kept = {name.removeprefix("_orig_mod."): value for name, value in other.state_dict().items()}
    for name, value in eager.state_dict().items():
        torch.testing.assert_close(kept[name], value)
    assert eager.norm.num_batches_tracked == 1


# ------------------------------------------------------------------------------------------ saving and copying
@pytest.mark.parametrize("name", EVERY)
def test_saved_weights_give_the_same_module(name):
    module, other, x = make(name).eval(), make(name).eval(), torch.randn(2, 32, 5, 4)
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(x), module(x))


@pytest.mark.parametrize("name", EVERY)
def test_copies_and_pickles_are_the_same_and_independent(name):
    module, x = make(name).eval(), torch.randn(2, 32, 5, 4)
    expected = module(x)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(other(x), expected)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.add_(1)
    assert torch.equal(module(x), expected)


@torch.no_grad()
def spoil(module: nn.Module) -> None:
    """Every weight and every statistic becomes another one."""
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.add_(3)


@pytest.mark.parametrize(("name", "option"), [*((name, None) for name in TRAINABLE), ("deformable, table", "norm")])
def test_reset_parameters_draws_what_construction_draws(name, option):
    options = {option: True} if option else {}
    for seed in range(3):
        torch.manual_seed(seed)
        module, next_number = make(name, **options), torch.rand(1)
        expected = copy.deepcopy(module.state_dict())
        spoil(module)
        torch.manual_seed(seed)
        module.reset_parameters()
        assert torch.equal(torch.rand(1), next_number)
        for key, value in module.state_dict().items():
            assert torch.equal(value, expected[key]), key


def test_a_mechanism_whose_own_weights_nothing_draws_says_so():
    class Scaled(Attention):
        def __init__(self, channels):
            super().__init__(channels)
            self.scale = nn.Parameter(torch.ones(channels))

    with pytest.raises(NotImplementedError, match=r"Scaled has weights of its own: give it a reset_own"):
        Scaled(3).reset_parameters()


def test_reset_draws_a_network_part_by_part_and_a_mechanism_as_one():
    network = nn.Sequential(nn.Conv2d(3, 32, 3), nn.Sequential(SqueezeExcitation(32)), make("cbam"))
    spoil(network)
    reset(network)
    for first in (network[1][0].reduce.weight, network[2].channel.reduce.weight):
        assert torch.equal(first[0], -first[1]) and first.abs().max() < 1


@pytest.mark.parametrize("name", TRAINABLE)
def test_one_seed_gives_the_weights_that_it_always_gave(name):
    """Recorded networks and lessons start from a seed: layers are drawn in their order, then what has no layer."""
    torch.manual_seed(0)
    module = make(name)
    torch.manual_seed(0)
    for key, layer in module.named_modules():
        if isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d)):
            weight = copy.deepcopy(layer)
            weight.reset_parameters()
            if key.endswith("reduce") and isinstance(layer, nn.Linear):
                start_in_pairs_(weight.weight)
            if key == "offset.3":  # the last layer of deformable attention's offset network
                nn.init.zeros_(weight.weight)
            assert torch.equal(layer.weight, weight.weight), key


# ------------------------------------------------------------------------------------------ other sizes of maps
def test_a_table_of_another_size_is_interpolated_by_one_call():
    name = "deformable, table"
    small, large = (nn.Sequential(make("deformable"), make(name, 32, *size)) for size in ((12, 8), (30, 20)))
    with pytest.raises(RuntimeError, match="size mismatch"):
        large.load_state_dict(small.state_dict())
    before = copy.deepcopy(small.state_dict())
    load_resized(large, small.state_dict())
    for key, value in small.state_dict().items():
        assert torch.equal(value, before[key])
        if key != "1.table":
            assert torch.equal(large.state_dict()[key], value), key
    assert large(x := torch.rand(2, 32, 30, 20)).shape == x.shape
    again = make(name, 32, 30, 20)
    load_resized(again, large[1].state_dict())  # of the same size: nothing changes
    assert all(torch.equal(value, large[1].state_dict()[key]) for key, value in again.state_dict().items())


def test_a_resized_table_has_the_biases_of_the_same_displacements():
    small, large = make("deformable, table", 32, 12, 12), make("deformable, table", 32, 32, 32)
    steps = torch.linspace(-1, 1, 23)
    nn.init.zeros_(small.table).data += steps[:, None] + 10 * steps  # a slope down, a steep one across
    load_resized(large, small.state_dict())
    steps = torch.linspace(-1, 1, 63)
    assert (large.table - (steps[:, None] + 10 * steps)).abs().max() < 0.1  # of 22; at the edges
    assert large.table[:, 31, 31].abs().max() < 1e-5  # no displacement, no bias


# ------------------------------------------------------------------------------------------ torch.func, hooks, repr
@pytest.mark.parametrize("name", TRAINABLE)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.filterwarnings("ignore:There is a performance drop")  # vmap takes torch's fused attention one by one
def test_transforms_of_torch_func_work(name, training):
    module, x = make(name).double().train(training), torch.randn(3, 32, 5, 4, dtype=torch.float64)
    if name == "ca" and training:  # the running statistics of a batch are no function of one image
        module = torch.func.replace_all_batch_norm_modules_(module)
    alone, goal = torch.stack([module(image[None])[0] for image in x]), torch.randn_like(x[0])
    torch.testing.assert_close(torch.func.vmap(lambda image: module(image[None])[0])(x), alone)

    def two(weights, image):
        out = torch.func.functional_call(module, weights, image[None])[0]
        return torch.stack([(out * goal).sum(), out[0, 0, 0]])

    weights, x = dict(module.named_parameters()), x.requires_grad_()
    of_one = torch.func.grad(lambda *inputs: two(*inputs)[0], argnums=(0, 1))
    gradients = torch.func.vmap(of_one, (None, 0))(weights, x)  # for each image
    jacobians = torch.func.vmap(torch.func.jacrev(two, argnums=(0, 1)), (None, 0))(weights, x)
    for i, image in enumerate(x):
        inputs = [*weights.values(), image]
        rows = [torch.autograd.grad(value, inputs, retain_graph=True) for value in two(weights, image)]
        ours = [*(gradients[0][key][i] for key in weights), gradients[1][i]]
        torch.testing.assert_close(ours, list(rows[0]), rtol=1e-9, atol=1e-12)
        ours = [*(jacobians[0][key][i] for key in weights), jacobians[1][i]]
        torch.testing.assert_close(ours, list(map(torch.stack, zip(*rows, strict=True))), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", TRAINABLE)
def test_every_layer_is_called_so_that_hooks_see_it(name):
    module, seen = make(name), []
    layers = {key: layer for key, layer in module.named_modules() if list(layer.parameters(recurse=False))}
    for key, layer in layers.items():
        layer.register_forward_hook(lambda *_, key=key: seen.append(key))
    module(torch.randn(2, 32, 5, 4))
    assert set(seen) == set(layers)


SHOWN = {  # what no layer shows
    "se": ["reduction=16"],
    "cbam": ["reduction=16", "channels=32"],
    "cbam_channel": ["reduction=16"],
    "cbam_spatial": ["channels=32"],
    "eca": ["channels=32"],
    "ca": ["reduction=32"],
    **{name: ["num_heads=4"] for name in ("self", "linear", "efficient")},
    "performer": ["num_heads=4", "features=64"],
    "linformer": ["num_heads=4", "size=(5, 4)", "landmarks=64"],
    "deformable": ["num_heads=4", "groups=2", "stride=1", "position='conv'", "offset_range=2.0"],
    "deformable, table": ["num_heads=4", "groups=2", "stride=2", "position='table'", "size=(5, 4)"],
}


@pytest.mark.parametrize("name", TRAINABLE)
def test_repr_shows_what_no_layer_shows(name):
    shown = repr(make(name))
    assert all(re.search(rf"(^|[ ,]){re.escape(word)}($|[,\n])", shown, re.M) for word in SHOWN[name]), shown
    assert name not in ("eca", "cbam_spatial") or "channels=" not in repr(MECHANISMS[name](kernel_size=3))


# ------------------------------------------------------------------------------------------ looking
@pytest.mark.parametrize("name", LOOKED_AT)
@settings(max_examples=5, deadline=None)
@given(b=sizes, h=sizes, w=sizes)
def test_watching_shows_the_weights_and_changes_nothing(name, b, h, w):
    module, x = make(name, 32, h, w).eval(), torch.randn(b, 32, h, w)
    plain = module(x)
    with watch(module) as seen:
        watched = module(x)
    assert torch.equal(watched, plain)
    shapes = {part: {kind: tuple(t.shape) for kind, t in weights.items()} for part, weights in seen.items()}
    assert shapes == LOOKED_AT[name](b, h, w)
    assert not any(t.requires_grad or t.grad_fn for weights in seen.values() for t in weights.values())


@pytest.mark.parametrize("name", LOOKED_AT)
def test_watching_leaves_nothing_behind(name):
    module, x = make(name), torch.randn(2, 32, 5, 4)
    with watch(nn.Sequential(nn.Identity(), module)) as seen:
        module(x)
    before = {part: dict(weights) for part, weights in seen.items()}
    module(x + 1)  # the block is over
    assert all(seen[part][kind] is t for part, weights in before.items() for kind, t in weights.items())
    assert all(part._record is None for part in module.modules() if hasattr(part, "_record"))

    references = [weakref.ref(t) for weights in seen.values() for t in weights.values()]
    assert references and all(reference() is not None for reference in references)
    del seen, before
    gc.collect()
    assert all(reference() is None for reference in references)


def test_watching_a_part_leaves_the_whole_watched():
    network, x = nn.Sequential(SqueezeExcitation(32), make("cbam")), torch.rand(3, 32, 4, 4)
    with watch(network) as seen:
        with watch(network[0]) as inner:
            network[0](x)
        network(x)
    assert torch.equal(inner[""]["gate"], seen["0"]["gate"]) and set(seen) == {"0", "1.channel", "1.spatial"}


def test_watching_a_network_names_every_mechanism_in_it():
    se, x = SqueezeExcitation(32), torch.rand(3, 32, 4, 4)
    network = nn.Sequential(nn.Identity(), se, make("cbam"))
    with watch(network) as seen:
        network(x)
    assert set(seen) == {"1", "2.channel", "2.spatial"}
    assert torch.equal(se(x), x * seen["1"]["gate"][:, :, None, None])


def test_watching_ends_after_an_error():
    se = SqueezeExcitation(32)
    with pytest.raises(RuntimeError, match="stop"), watch(se):
        raise RuntimeError("stop")
    assert se._record is None


def test_watching_shows_the_last_forward_pass_also_of_a_compiled_module():
    torch.compiler.reset()
    se, x = SqueezeExcitation(32).eval(), torch.rand(3, 32, 4, 4)
    compiled = torch.compile(se, fullgraph=True, backend="aot_eager")
    compiled(x)
    with watch(se) as seen:
        compiled(x + 1)
        y = compiled(x)
    torch.testing.assert_close(y, x * seen[""]["gate"][:, :, None, None])


# ------------------------------------------------------------------------------------------ refusals: images
@pytest.mark.parametrize("name", TRAINABLE)
def test_a_bad_image_is_refused_in_one_sentence(name):
    module = make(name)
    refused(ValueError, lambda: module(torch.rand(2, 32, 5)), "(B, 32, H, W)", "shape (2, 32, 5)")
    refused(ValueError, lambda: module(torch.rand(2, 32)), "(B, 32, H, W)", "shape (2, 32)")
    refused(ValueError, lambda: module(torch.rand(2, 16, 5, 4)), "channels=32", "shape (2, 16, 5, 4)")
    refused(ValueError, lambda: module(torch.rand(2, 32, 0, 4)), "at least 1", "shape (2, 32, 0, 4)")
    refused(ValueError, lambda: module(torch.rand(2, 32, 5, 0)), "at least 1", "shape (2, 32, 5, 0)")
    refused(TypeError, lambda: module(torch.ones(2, 32, 5, 4, dtype=torch.uint8)), "floating-point", "torch.uint8")
    refused(TypeError, lambda: module(torch.ones(2, 32, 5, 4, dtype=torch.int64)), "floating-point", "torch.int64")


@pytest.mark.parametrize("name", ONE_SIZE)
def test_a_map_of_another_size_is_refused_where_weights_belong_to_places(name):
    refused(ValueError, lambda: make(name)(torch.rand(2, 32, 4, 5)), "size=(5, 4)", "shape (2, 32, 4, 5)")


def test_mechanisms_for_any_number_of_channels_name_the_shape_without_it():
    for module in (SpatialAttention(), ECAAttention()):
        for channels in (1, 3, 64):
            assert module(torch.rand(2, channels, 5, 4)).shape == (2, channels, 5, 4)
        refused(ValueError, lambda module=module: module(torch.rand(2, 5, 4)), "(B, C, H, W)", "shape (2, 5, 4)")
        refused(ValueError, lambda module=module: module(torch.rand(2, 0, 5, 4)), "at least 1", "shape (2, 0, 5, 4)")


# ------------------------------------------------------------------------------------------ refusals: arguments
@pytest.mark.parametrize("name", TRAINABLE)
@pytest.mark.parametrize("channels", [0, -3, 2.5, "64", True, None])
def test_bad_channels(name, channels):
    if channels is None and name != "eca" and getattr(MECHANISMS.get(name), "any_channels", False):
        assert make(name, channels).channels is None  # any number of them; ECA finds its kernel size by it
    else:
        error = ValueError if type(channels) is int or (channels is None and name == "eca") else TypeError
        refused(error, lambda: make(name, channels), "channels", repr(channels))


ERRORS = (ValueError, TypeError)
WHOLE = "a whole number of at least 1"
BAD_OPTIONS = [
    *(
        (name, {"reduction": r}, ("a whole number from 1 to 32", "channels=32"))
        for name in ("se", "cbam", "cbam_channel", "ca")
        for r in (0, -4, 33, 1.5, "4", True)
    ),
    *((name, {"kernel_size": k}, ("even",)) for name in ("cbam", "cbam_spatial", "eca") for k in (2, 4)),
    *((name, {"kernel_size": k}, (WHOLE,)) for name in ("cbam", "cbam_spatial", "eca") for k in (0, -3, 3.0, "3")),
    *(
        (name, {"num_heads": h}, ("channels=32", "1, 2, 4, 8, 16, 32"))
        for name in ("self", "linear", "efficient", "performer", "linformer", "deformable")
        for h in (3, 64)
    ),
    *(
        (name, {"num_heads": h}, (WHOLE,))
        for name in ("self", "linear", "efficient", "performer", "linformer", "deformable")
        for h in (0, -1, 2.0, "2", True)
    ),
    *((name, {"key_channels": 10}, ("num_heads=4", "1, 2, 5, 10")) for name in ("self", "linear", "efficient")),
    *((name, {"key_channels": n}, (WHOLE,)) for name in ("self", "linear", "efficient") for n in (0, -8, 8.0, "8")),
    *(("performer", {"features": m}, (WHOLE,)) for m in (0, -1, 2.5, "64")),
    *(("linformer", {"landmarks": m}, (WHOLE,)) for m in (0, -1, 2.5, "64")),
    *((n, {"size": s}, ("two whole numbers",)) for n in ("linformer", "deformable, table") for s in (5, (5,), "ab")),
    *((n, {"size": s}, (WHOLE,)) for n in ("linformer", "deformable, table") for s in ((5, 0), (-1, 4), (5, 4.0))),
    ("deformable", {"groups": 3}, ("num_heads=4", "1, 2, 4")),
    ("deformable", {"groups": 8}, ("num_heads=4", "1, 2, 4")),
    *(("deformable", {"groups": g}, (WHOLE,)) for g in (0, -2, 2.0, True)),
    *(("deformable", {"stride": s}, (WHOLE,)) for s in (0, -1, 1.5, "2")),
    *(("deformable", {"position": p}, ("'conv', 'table', None",)) for p in ("rpb", "", 3, True, ["conv"])),
    *(("deformable", {"offset_range": r}, ("at least 0",)) for r in (-1, -0.5, float("nan"))),
]


@pytest.mark.parametrize(("name", "options", "words"), BAD_OPTIONS)
def test_bad_options_are_refused_in_one_sentence_that_says_what_is_allowed(name, options, words):
    ((option, value),) = options.items()
    shown = "size[" if words == (WHOLE,) and option == "size" else str(value)
    refused(ERRORS, lambda: make(name, **options), option, shown, *words)


@pytest.mark.parametrize("value", ["0.5", None, [0.5], float("inf"), True])
def test_the_offset_range_is_a_finite_number(value):
    refused(ERRORS, lambda: make("deformable", offset_range=value), f"offset_range={value!r}")


def test_what_an_argument_needs_beside_it():
    refused(ValueError, EfficientChannelAttention, "kernel_size=None", "channels", "give one of them")
    refused(ValueError, lambda: DeformableAttention(32, position="table"), "position='table'", "size is None")
    refused(ValueError, lambda: adaptive_kernel_size(0), "channels=0")


def test_the_tutorials_names_refuse_as_clearly():
    refused(ValueError, lambda: SEAttention(8, 16), "reduction=16", "from 1 to 8")
    refused(ValueError, lambda: CBAMAttention(8, 16), "reduction=16", "from 1 to 8")
    refused(ValueError, lambda: CAAttention(8, 16), "reduction=16", "from 1 to 8")
    refused(TypeError, lambda: CAAttention("64"), "channels='64'")
    refused(ValueError, lambda: CBAMAttention(512, kernel_size=4), "kernel_size=4 is even")
    refused(ValueError, lambda: ECAAttention(4), "kernel_size=4 is even")
    refused(ValueError, lambda: LinearAttention(0), "in_dim=0")
    refused(ValueError, lambda: LinearAttention(4, reduction=8), "reduction=8", "from 1 to 4", "in_dim=4")
    refused(ValueError, lambda: DAttention(64, n_groups=3), "groups=3 does not divide num_heads=8")
    refused(ValueError, lambda: DAttention(60), "num_heads=8 does not divide channels=60")


# ------------------------------------------------------------------------------------------ by name
def test_unknown_mechanism_names_the_known_ones():
    refused(ValueError, lambda: build_attention("sse", 64), "attention='sse' is not known", *map(repr, MECHANISMS))


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("none", {"reduction": 4}, ("reduction=4", "'none'", "it takes none")),
        ("se", {"num_heads": 2}, ("num_heads=2", "'se'", "reduction")),
        ("eca", {"reduction": 4}, ("reduction=4", "'eca'", "kernel_size")),
        ("self", {"reduction": 4}, ("reduction=4", "'self'", "num_heads, key_channels")),
        ("linformer", {}, ("'linformer'", "size")),
        ("linformer", {"landmarks": 8}, ("'linformer'", "size")),
        ("linformer", {"sizes": (5, 4)}, ("sizes=(5, 4)", "size, num_heads, landmarks")),
    ],
)
def test_an_option_that_is_unknown_or_missing_is_refused_by_name(name, options, words):
    refused(ValueError, lambda: build_attention(name, 8, **options), *words)


@pytest.mark.parametrize("wrong", [None, 3, nn.ReLU()])
def test_what_makes_no_mechanism_is_refused(wrong):
    refused(ERRORS, lambda: build_attention(wrong, 8), "attention=")


def test_your_own_class_is_a_mechanism():
    assert isinstance(build_attention(nn.BatchNorm2d, 8), nn.BatchNorm2d)
    assert build_attention(nn.BatchNorm2d, 8, eps=0.5).eps == 0.5


def test_numbers_that_numpy_and_torch_made_are_whole_numbers():
    channels = np.array([32])[0]
    for number in (channels, torch.tensor(32)):
        assert SelfAttention(number).channels == 32
    assert build_attention("linformer", 32, size=torch.rand(1, 32, 5, 4).shape[2:]).size == (5, 4)
    refused(TypeError, lambda: SelfAttention(channels / 2), "channels=", WHOLE)
