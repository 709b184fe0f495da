"""What the notebooks themselves need: a start, promises that are tested, something to move, a quiz."""

from .claims import claim, say
from .explore import explore
from .quiz import Question, quiz
from .start import Lesson, start

__all__ = ["Lesson", "Question", "claim", "explore", "quiz", "say", "start"]
