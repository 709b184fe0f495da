"""The calls of popular tutorials."""

import pytest
import torch
from torch import nn

from attn_lessons.attention import (
    MECHANISMS,
    AttentionModule,
    CAAttention,
    CBAMAttention,
    DAttention,
    DeformableAttention,
    ECAAttention,
    LinearAttention,
    SEAttention,
)
from attn_lessons.measure import parameters

pytestmark = pytest.mark.usefixtures("same_numbers_every_time")


# ------------------------------------------------------------------------------------------ calls
@pytest.mark.parametrize(
    ("factory", "options", "class_name", "count"),
    [
        (SEAttention, {"channel": 512, "reduction": 16}, "SqueezeExcitation", 32_768),
        (CBAMAttention, {"channel": 512, "reduction": 16, "kernel_size": 7}, "CBAM", 32_867),
        (ECAAttention, {"kernel_size": 3}, "EfficientChannelAttention", 3),
        (CAAttention, {"channel": 512, "reduction": 16}, "CoordinateAttention", 3 * 512 * 32 + 3 * 32 + 2 * 512),
        (AttentionModule, {"channels": 512}, "SqueezeExcitation", 32_768),
    ],
)
def test_gates_by_the_names_and_arguments_of_tutorials(factory, options, class_name, count):
    module, x = factory(**options), torch.rand(50, 512, 7, 7)
    assert type(module).__name__ == class_name and parameters(module) == count
    assert module(x).shape == x.shape


def test_linear_attention_by_the_name_and_arguments_of_a_tutorial():
    module, x = LinearAttention(in_dim=64, reduction=8), torch.rand(1, 64, 32, 31)
    assert type(module) is MECHANISMS["linear"] and module.num_heads == 1 and module.query.out_features == 8
    assert module(x).shape == x.shape


def test_deformable_attention_by_the_name_and_arguments_of_a_tutorial():
    module, x = DAttention(64, q_size=(32, 32), n_heads=8, n_groups=4, stride=1), torch.rand(1, 64, 32, 32)
    assert type(module) is DeformableAttention and (module.num_heads, module.groups, module.stride) == (8, 4, 1)
    assert module.local is not None and module.table is None  # dwc-pe
    assert module(x).shape == x.shape


def test_fault_elsewhere_linear_layers_on_a_feature_map_act_on_its_columns():
    """AttentionModule as the post prints it: an error on normal input; with W = C, channels are never mixed."""
    printed = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.Sigmoid()).double()
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        printed(torch.rand(2, 8, 7, 7).double())
    x, order = torch.rand(2, 8, 5, 8).double(), torch.randperm(8)
    torch.testing.assert_close(printed(x[:, order]), printed(x)[:, order])
