"""The command line: which commands there are, and what a mistake looks like.

To add a command: write its file, with ``Settings`` and ``main``, and add it to `COMMANDS`.
"""

import argparse
import os
import sys
from types import ModuleType

from PIL.Image import DecompressionBombError
from torch.cuda import OutOfMemoryError

from . import explain, export, predict, report, run, sweep
from .options import Command, UsageError, add_options

COMMANDS = {module.__name__.rpartition(".")[2]: module for module in (run, sweep, predict, explain, report, export)}
MISTAKES = ValueError, TypeError, OSError, FloatingPointError, ImportError, DecompressionBombError, OutOfMemoryError


def main(arguments: list[str] | None = None) -> None:
    """What ``python -m attn_lessons.train`` does with these words."""
    command, settings = parse(sys.argv[1:] if arguments is None else arguments)
    if command is not run and os.environ.get("WORLD_SIZE", "1") != "1":
        raise ValueError("only run works in several processes: start this command without accelerate launch.")
    command.main(settings)


def parse(arguments: list[str]) -> tuple[ModuleType, Command]:
    """The module of the command, and its settings."""
    parser = argparse.ArgumentParser(prog="python -m attn_lessons.train", description="Train networks, and use them.")
    commands, parsers = parser.add_subparsers(dest="command", required=True), {}
    for name, module in COMMANDS.items():
        about = module.__doc__.partition("\n")[0]
        parsers[name] = commands.add_parser(name, help=about, usage="%(prog)s [--help] …", description=module.__doc__)
        add_options(parsers[name], module.Settings)
    options = vars(parser.parse_args(arguments))
    name = options.pop("command")
    try:
        return COMMANDS[name], COMMANDS[name].Settings(words=tuple(arguments), **options)
    except UsageError as error:
        parsers[name].error(str(error))


def from_shell() -> None:
    try:
        main()
    except MISTAKES as error:  # one sentence each
        sys.exit(f"attn_lessons.train: {error}")
    except KeyboardInterrupt as stop:
        print(f"attn_lessons.train: {stop or 'stopped.'}", file=sys.stderr)
        sys.exit(130)  # what a shell expects after Ctrl-C
