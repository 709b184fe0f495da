"""The package's own code in a lesson: what is taught is what is used."""

import ast
import inspect
import textwrap

from IPython.display import Markdown, display


def show_code(thing: object) -> None:
    """Show the source of a class or function of the package, without its docstring."""
    lines = textwrap.dedent(inspect.getsource(thing)).splitlines()
    first = ast.parse("\n".join(lines)).body[0].body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        del lines[first.lineno - 1 : first.end_lineno + (not lines[first.end_lineno])]
    display(Markdown("```python\n" + "\n".join(lines) + "\n```"))
