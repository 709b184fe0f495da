"""What a learner's code gives away when it is read instead of run: for sentences that a result alone cannot give."""

import ast
import inspect
import linecache
import textwrap
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

PRODUCT = "In a matrix product the last axis of the left factor meets the second-to-last (or only) axis of the right "
PRODUCT += "one: which factor comes first, and which has to be transposed? (.mT exchanges the last two axes, .T turns "
PRODUCT += "round all of them, and * is no matrix product.)"
HINTS = {  # what torch says → what it means for whoever writes such a module
    "size mismatch": PRODUCT,
    "Expected size for first two dimensions": PRODUCT,
    "view size is not compatible": "view relabels numbers where they lie, and after a transpose they lie in another "
    "order. Before you take reshape instead: which two axes does your transpose exchange, and which did you mean to?",
    "Can't call numpy": "In numpy a gradient is lost: stay with torch's own functions.",
    "math range error": "exp of a large number overflows.",
    "is invalid for input of size": "view and reshape keep every number: take the sizes from x.shape.",
    "same dtype": "Leave out .float(), .half() and dtype=…: your inputs may have any dtype.",
    "t() expects": "The batch is an axis, too: .mT exchanges the last two axes and leaves it alone.",
    "must match the size of tensor": "Broadcasting aligns shapes from the right: give the smaller tensor an axis of "
    "size 1 wherever it has none, as (B, C) → (B, C, 1, 1), or keep it there with keepdim=True.",
    "mat1 and mat2": "A linear layer, or a product with one matrix, acts on the last axis: is it the one you mean, and "
    "is the rest squeezed away? "
    "Without keepdim=True a sum takes an axis away, too.",
    "return_types.max": "max over one dimension returns two things, the largest values and their positions: take "
    ".values, or use amax.",
    "max() received": "max takes one dimension, amax takes several.",
    "Output size is too small": "The window of your pooling is larger than the image: its size must follow H and W.",
    "found element of type float": "/ gives a float; // gives a whole number.",
    "maximum recursion": "A function or forward that calls itself never ends: call the layers, not self.",
}


def tree_of(attempt: Callable) -> ast.AST | None:
    """The syntax tree of a function or class; None where there is no source to read."""
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(attempt)))
    except (OSError, TypeError, SyntaxError, IndentationError):
        return None


def functions(attempt: Callable | None) -> list[ast.FunctionDef]:
    tree = None if attempt is None else tree_of(attempt)
    return [] if tree is None else [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def left_over(attempt: Callable) -> str:
    """What to say if code stands around the line that marks an empty cell; nothing if the cell is empty."""
    for function in functions(attempt):
        body = [node for node in function.body if not is_docstring(node)]
        marks = [node for node in body if isinstance(node, ast.Raise) and "NotImplementedError" in ast.dump(node)]
        if marks and len(body) > 1 and any(isinstance(node, ast.Return) for node in body):
            return f"your code is there, but {function.name} still has its raise NotImplementedError: delete that line."
    return ""


def is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def reading(attempt: Callable | None) -> str:
    """A sentence about how the code is written, if something in it explains a result that nothing else does."""
    outside = getattr(attempt, "__globals__", {})
    for function in functions(attempt):
        every = [node for node in ast.walk(function) if isinstance(node, ast.Name)]
        names = [node.id for node in every if isinstance(node.ctx, ast.Load)]
        stored = {node.id for node in every if isinstance(node.ctx, ast.Store)}
        arguments = [argument.arg for argument in function.args.args if argument.arg != "self"]
        unused = [argument for argument in arguments if argument not in names and function.name != "__init__"]
        foreign = [name for name in names if name not in {*arguments, *stored} and is_data(outside.get(name))]
        if foreign:
            instead = f" in place of your argument {unused[0]}" if unused else ""
            return f"your code reads {foreign[0]!r} of the notebook{instead}: it should use nothing but its arguments."
        if unused:
            return f"your argument {unused[0]!r} is not used."
        for loop in (node for node in ast.walk(function) if isinstance(node, ast.For | ast.While)):
            if any(isinstance(node, ast.Return) for node in loop.body):
                return "a return stands inside your loop, which ends in its first turn: return after the loop."
    return ""


def is_data(value: object) -> bool:
    return isinstance(value, torch.Tensor) or type(value).__name__ == "ndarray"


def one_sentence(error: BaseException, given: str, hints: dict[str, str]) -> str:
    """An exception in one sentence, with the last line of the learner's own code that it passed through."""
    message = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
    libraries = (str(Path(torch.__file__).parent), str(Path(__file__).parent))
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(libraries)]
    where = ""
    if frames and (line := linecache.getline(frames[-1].filename, frames[-1].lineno).strip()):
        where = f" at `{line}`"
    told = [next((f" {hint}" for words, hint in known.items() if words in message), "") for known in (HINTS, hints)]
    return f"your code stopped{where} when given {given}: {type(error).__name__}: {message}.{''.join(told)}"
