"""What the notebooks themselves need: a start, promises that are tested, something to move, a quiz."""

from .begin import Lesson, start
from .claims import claim, say
from .code import show_code
from .diagrams import diagram, placements
from .questions import Question, quiz
from .sliders import explore

__all__ = ["Lesson", "Question", "claim", "diagram", "explore", "placements", "quiz", "say", "show_code", "start"]
