"""Train from the command line: ``python -m attn_lessons.train --help``.

One file per command, named in `attn_lessons.train.command`: what it takes is the dataclass ``Settings`` in it, what it
does is its ``main``. Introduced in lesson 09. In several processes: ``accelerate launch -m attn_lessons.train run …``.
"""

from .command import main

__all__ = ["main"]
