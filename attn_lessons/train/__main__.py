"""``python -m attn_lessons.train``."""

from .command import from_shell

if __name__ == "__main__":
    from_shell()
