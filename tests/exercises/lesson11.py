"""Answers to the exercises of lesson 11; what the names mean is said in __init__.py."""

from torch import nn

from attn_lessons import check


# --------------------------------------------------------------------------------------------------- exercise 1
def decide(ours, theirs, t):
    d = ours - theirs
    half = t * d.std() / len(d) ** 0.5
    if d.mean() - half > 0:
        return "helps"
    return "hurts" if d.mean() + half < 0 else "cannot tell"


def with_numpy(ours, theirs, t):
    d = (ours - theirs).numpy()
    half = t * d.std(ddof=1) / d.size**0.5
    return "cannot tell" if abs(d.mean()) <= half else ("helps", "hurts")[int(d.mean() < 0)]


def t_statistic(ours, theirs, t):
    d = ours - theirs
    statistic = d.mean() / (d.var() / len(d)).sqrt()
    return "helps" if statistic > t else "hurts" if statistic < -t else "cannot tell"


def with_half(half, low=lambda m, h: m - h > 0, high=lambda m, h: m + h < 0):
    def attempt(ours, theirs, t):
        m, h = (ours - theirs).mean(), half(ours - theirs, ours, theirs, t)
        return "helps" if low(m, h) else "hurts" if high(m, h) else "cannot tell"

    return attempt


def right_half(d, a, b, t):
    return t * d.std() / len(d) ** 0.5


WRONG_VERDICTS = {
    "True": (lambda a, b, t: True, "True"),
    "another word": (lambda a, b, t: "yes", "'yes'"),
    "no return": (lambda a, b, t: None, "None"),
    "always": (lambda a, b, t: "helps", "some verdicts"),
    "in place": (lambda a, b, t: decide(a.sub_(b), 0 * b, t), "in place"),
    "the sign": (lambda a, b, t: "helps" if (a - b).mean() > 0 else "hurts", "sign of the mean"),
    "never hurts": (with_half(right_half, high=lambda m, h: False), "below 0 as a whole"),
    "never helps": (with_half(right_half, low=lambda m, h: False), "above 0 as a whole"),
    "reversed": (lambda a, b, t: decide(b, a, t), "changed places"),
    "reaches": (lambda a, b, t: "helps" if (a - b).mean() + right_half(a - b, a, b, t) > 0 else "hurts", "reaches"),
    "unpaired": (with_half(lambda d, a, b, t: t * (a.var() + b.var()).sqrt() / len(d) ** 0.5), "pairs"),
    "no root": (with_half(lambda d, a, b, t: t * d.std()), "√n"),
    "n": (with_half(lambda d, a, b, t: t * d.std() / len(d)), "divide by n"),
    "no t": (with_half(lambda d, a, b, t: d.std() / len(d) ** 0.5), "leave out t"),
    "1.96": (with_half(lambda d, a, b, t: 1.96 * d.std() / len(d) ** 0.5), "t is given"),
    "correction": (with_half(lambda d, a, b, t: t * d.std(correction=0) / len(d) ** 0.5), "n − 1"),
    "variance": (with_half(lambda d, a, b, t: t * d.var() / len(d) ** 0.5), "some verdicts"),
}


# --------------------------------------------------------------------------------------------------- exercise 2
RIGHT_CAUSES = {"A": "gates stuck", "B": "not trained", "C": "sees everything"}


def cause(network):
    return RIGHT_CAUSES[network]


def by_branches(network):
    if network == "A":
        return "gates stuck"
    return "not trained" if network == "B" else "sees everything"


def wrong_cause(**changed):
    return lambda network: (RIGHT_CAUSES | changed)[network]


WRONG_CAUSES = {
    "A fades": (wrong_cause(A="signal fades"), "network A"),
    "A untrained": (wrong_cause(A="not trained"), "network A"),
    "B stuck": (wrong_cause(B="gates stuck"), "network B"),
    "B noise": (wrong_cause(B="within noise"), "network B"),
    "C place": (wrong_cause(C="wrong slot"), "network C"),
    "C weights": (wrong_cause(C="weights not loaded"), "network C"),
    "unknown": (wrong_cause(A="dead"), "none of the eight"),
    "None": (lambda network: None, "returned None"),
    "missing": (lambda network: {"A": "gates stuck"}[network], "KeyError|'B'"),
}


# --------------------------------------------------------------------------------------------------- exercise 3
def attach_to(network, name, module):
    host = network.get_submodule(name)
    host.add_module("attention", module)
    host.register_forward_hook(lambda host, inputs, output: host.attention(output))


def by_index(network, name, module):
    layer = network[int(name)]
    layer.gate = module

    def after(layer, inputs, output):
        return layer.gate(output)

    layer.register_forward_hook(after)
    return network


def inserted(network, name, module):
    network.insert(int(name) + 1, module)


def replaced(network, name, module):
    network[int(name)] = nn.Sequential(network[int(name)], module)


def on_the_network(network, name, module):
    network.add_module("attention", module)
    network[int(name)].register_forward_hook(lambda host, inputs, output: module(output))


def not_a_child(network, name, module):
    network[int(name)].register_forward_hook(lambda host, inputs, output: module(output))


def no_hook(network, name, module):
    network[int(name)].attention = module


def dropped(network, name, module):
    network[int(name)].attention = module

    def after(host, inputs, output):
        host.attention(output)

    network[int(name)].register_forward_hook(after)


def twice(network, name, module):
    attach_to(network, name, module)
    network[int(name)].register_forward_hook(lambda host, inputs, output: module(output))


def before(network, name, module):
    network[int(name)].attention = module
    network[int(name)].register_forward_pre_hook(lambda host, inputs: module(inputs[0]))


def at_the_end(network, name, module):
    attach_to(network, "2", module)


WRONG_HOOKS = {
    "insert": (inserted, "layers have changed"),
    "replaced": (replaced, "layers have changed"),
    "child of the network": (on_the_network, "layers have changed"),
    "no child": (not_a_child, "parameters"),
    "no hook": (no_hook, "never runs"),
    "dropped": (dropped, "never runs"),
    "twice": (twice, "twice"),
    "before": (before, "right after layer"),
    "at the end": (at_the_end, "right after layer"),
    "frozen child": (lambda n, name, m: n[int(name)].__dict__.update(attention=m), "parameters"),
}

EXERCISES = {
    "decide": (check.check_decide, [decide, with_numpy, t_statistic], WRONG_VERDICTS),
    "cause": (check.check_cause, [cause, by_branches], WRONG_CAUSES),
    "attach_to": (check.check_attach_to, [attach_to, by_index], WRONG_HOOKS),
}
