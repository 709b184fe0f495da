"""Right and wrong answers to the exercises, one module a lesson; test_check.py reads all of them.

Each module ends with

    EXERCISES = {"name": (check_name, [solution, another right answer, …], {"wrong answer": (attempt, "words"), …}), …}

An answer is a function or class. "words" is what the verdict on a wrong one must contain; in "this|that", either.
"""
