"""``python -m attn_lessons.grade FOLDER`` marks submissions: see `attn_lessons.check.grader`."""

from .check.grader import main

if __name__ == "__main__":
    main()
