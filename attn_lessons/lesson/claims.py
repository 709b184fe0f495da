"""What a lesson says about its own run: what must hold, and text that depends on the numbers."""

import os

from IPython.display import Markdown, display

STOPPING = {"PYTEST_VERSION", "ATTN_LESSONS_CLAIMS_STOP"}  # environment variables: of pytest, of `make notebooks`


def claim(condition: bool, sentence: str) -> None:
    """Promise something about the run above, in a folded cell tagged ``claims``.

    Nothing happens if it holds. If it does not, a reader sees one sentence and the lesson goes on, since trainings and
    timings vary from machine to machine; under pytest and ``make notebooks``, where promises are kept, it is an error.

    Parameters
    ----------
    condition : bool
        What must hold, such as ``gain["low"] > 0``.
    sentence : str
        The promise as a whole sentence: "SE is above the ceiling in every seed."

    Raises
    ------
    AssertionError
        Under pytest and ``make notebooks``, if the condition is false.

    Examples
    --------
    >>> claim(0.58 > 0.5, "SE is above the ceiling.")
    """
    if condition:
        return
    if STOPPING & os.environ.keys():
        raise AssertionError(sentence)
    display(Markdown(f"**Not on this machine:** {sentence} Trainings and timings vary; the text is of the usual run."))


def say(text: str) -> None:
    """Show Markdown whose numbers come from this run; tests do not compare it with the committed output.

    Parameters
    ----------
    text : str
        Markdown, such as ``f"SE reached {a:.2f}, plain {b:.2f}."``.
    """
    display(Markdown(f"<!-- computed -->\n{text}"))
