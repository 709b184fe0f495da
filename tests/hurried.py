"""A cell that makes the rest of a lesson quick, for tests of where and how lessons run.

Networks take a few steps instead of their training, and what they reach is not asserted: nbval does both in full.
"""

HURRIED = """
import ast, os
from attn_lessons import training

def hurried(model, train, test, recipe=None, *more, fit=training.fit, **options):
    batch_size = (recipe or training.Recipe()).batch_size
    few = train if len(train) <= 200 else train[: 2 * batch_size]  # what is small already may count its batches
    return fit(model, few, None if test is None else test[:100], recipe, *more, **options)

class WithoutAsserts(ast.NodeTransformer):
    def visit_Assert(self, node):
        return ast.copy_location(ast.Pass(), node)

training.fit = training.comparison.fit = hurried
get_ipython().ast_transformers.append(WithoutAsserts())
os.environ.pop("PYTEST_VERSION", None)  # a broken claim stops nothing, as it is with a learner
"""
