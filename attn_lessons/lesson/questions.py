"""A quiz with instant feedback that needs neither a kernel nor scripts: an answer opens when you choose it."""

import hashlib
from dataclasses import dataclass
from html import escape
from string import ascii_lowercase

from IPython.display import display


@dataclass(frozen=True)
class Question:
    """One question with one right answer.

    Parameters
    ----------
    text : str
    right : tuple of (answer, why)
    wrong : dict
        Answer → the mistake behind it.
    """

    text: str
    right: tuple[str, str]
    wrong: dict[str, str]

    def answers(self) -> list[tuple[str, bool, str]]:
        """(answer, is it right, feedback), in an order that gives nothing away and never changes."""
        answers = [(*self.right, True), *((answer, why, False) for answer, why in self.wrong.items())]
        answers.sort(key=lambda a: hashlib.sha256((self.text + a[0]).encode()).digest())
        return [(answer, is_right, why) for answer, why, is_right in answers]


def quiz(*questions: Question) -> None:
    """Show the questions; choosing an answer opens its feedback."""
    html, text = [], []
    for number, question in enumerate(questions, 1):
        html.append(f"<p><strong>{number}. {escape(question.text)}</strong></p>")
        text.append(f"{number}. {question.text}")
        for letter, (answer, is_right, why) in zip(ascii_lowercase, question.answers(), strict=False):
            verdict = "✓ Right." if is_right else "✗ Not quite."
            html.append(
                f"<details style='margin: 0.3em 0 0.3em 1.5em'><summary style='cursor: pointer'>{escape(answer)}"
                f"</summary><p style='margin: 0.2em 0 0.6em 1.2em'>{verdict} {escape(why)}</p></details>"
            )
            text.append(f"   {letter}) {answer}")
    display({"text/html": "\n".join(html), "text/plain": "\n".join(text)}, raw=True)
