"""Something to move: sliders above a figure that is an ordinary output, so that a page that runs nothing shows it."""

from collections.abc import Callable

import ipywidgets as widgets
from IPython.display import display
from matplotlib.figure import Figure

from ..style import png


def explore(draw: Callable[..., tuple[Figure, str]], **controls) -> None:
    """Show ``draw(...)`` at its defaults, and redraw it whenever a control moves.

    Parameters
    ----------
    draw : callable
        Takes the controls by name; returns the figure and its text for who cannot see it.
    **controls
        As ``ipywidgets.interact`` takes them: ``(low, high, step)`` for a slider, a list for a menu, or a widget. The
        figure at first is drawn with the defaults of `draw`.
    """
    # interactive() turns (low, high, step) into sliders and reads the defaults of `draw`. Its own output area is left
    # out: the figure goes into the cell's output, which a saved notebook keeps.
    named = {widget._kwarg: widget for widget in widgets.interactive(draw, {"manual": True}, **controls).kwargs_widgets}
    sliders = [widget for widget in named.values() if isinstance(widget, widgets.DOMWidget)]  # fixed(…) has no figure

    def drawn() -> tuple[dict, dict]:
        return png(*draw(**{name: widget.value for name, widget in named.items()}))

    box = widgets.VBox(sliders)
    view = {"version_major": 2, "version_minor": 0, "model_id": box.model_id}
    text = "Run this lesson to move: " + ", ".join(slider.description for slider in sliders)
    display({"text/plain": text, "application/vnd.jupyter.widget-view+json": view}, raw=True)
    data, metadata = drawn()
    shown = display(data, metadata=metadata, raw=True, display_id=True)

    def redraw(_change) -> None:
        data, metadata = drawn()
        shown.update(data, metadata=metadata, raw=True)

    for slider in sliders:
        slider.continuous_update = False
        slider.observe(redraw, names="value")
