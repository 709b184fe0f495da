"""What the notebooks themselves need: a start, something to move, a quiz."""

from .explore import explore
from .quiz import Question, quiz
from .start import Lesson, start

__all__ = ["Lesson", "Question", "explore", "quiz", "start"]
