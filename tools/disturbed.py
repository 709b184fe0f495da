"""What `make other-machines` does to a kernel: trainings start a little off, and every claim records its margin.

Two machines round differently, and a training amplifies that. A factor of 1 ± 1e-6 on each weight stands in for another
machine: whatever such a training still shows, it shows elsewhere too.
"""

import ast
import json
import operator
import os
import zlib

import numpy as np
import torch
from IPython import get_ipython
from torch.optim import Optimizer

SEED = int(os.environ.get("DISTURBED_SEED", 0))  # 0 leaves the weights alone
MARGINS = os.environ.get("DISTURBED_MARGINS")  # a file, one line of JSON per comparison
SIZE = 1e-6
ORDERED = {ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge"}

add_param_group = Optimizer.add_param_group


def add_disturbed(self, group):
    """A training begins where its optimizer is made, whoever makes it. One that resumes loads its own weights later."""
    add_param_group(self, group)
    for weights in self.param_groups[-1]["params"]:
        disturb(weights)


@torch.no_grad()
def disturb(weights):
    """Equal weights get equal noise, so that what must agree bit for bit does; the lesson's generators stay put."""
    checksum = zlib.crc32(weights.detach().cpu().flatten().contiguous().view(torch.uint8).numpy(), SEED)
    noise = torch.randn(weights.shape, generator=torch.Generator().manual_seed(checksum))
    weights.mul_(1 + SIZE * noise.to(weights))


class Claims(ast.NodeTransformer):
    """Finds what is asserted or claimed, and lets `Comparisons` rewrite it."""

    def visit_Assert(self, node):
        node.test = Comparisons().visit(node.test)
        return node

    def visit_Call(self, node):
        if getattr(node.func, "attr", "") == "claim" and node.args:
            node.args[0] = Comparisons().visit(node.args[0])
        return self.generic_visit(node)


class Comparisons(ast.NodeTransformer):
    """``a > b`` becomes ``compared("a > b", [">"], a, b)``, which says by how much, and then is what it was."""

    def visit_Compare(self, node):
        self.generic_visit(node)
        if any(type(op) not in ORDERED for op in node.ops):
            return node
        about = [
            ast.Constant(ast.unparse(node)),
            ast.List([ast.Constant(ORDERED[type(op)]) for op in node.ops], ast.Load()),
        ]
        return ast.Call(ast.Name("_compared", ast.Load()), [*about, node.left, *node.comparators], [])


def numbers(values):
    values = values.detach().cpu().double() if isinstance(values, torch.Tensor) else values
    return np.asarray(values, dtype=float)


def compared(source, names, *values):
    for name, a, b in zip(names, values, values[1:], strict=False):
        result = getattr(operator, name)(a, b)
        low, high = (a, b) if name in ("lt", "le") else (b, a)
        try:
            margin = float(np.min(numbers(high) - numbers(low)))
        except (TypeError, ValueError):
            continue  # dates, strings
        with open(MARGINS, "a", encoding="utf-8") as file:
            file.write(json.dumps({"claim": source, "margin": margin}) + "\n")
        if len(names) > 1 and not result:
            break
    return result


if SEED:
    Optimizer.add_param_group = add_disturbed
if MARGINS and (shell := get_ipython()):
    shell.user_ns["_compared"] = compared
    shell.ast_transformers.append(Claims())
