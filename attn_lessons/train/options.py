"""Options of a command: each is one line of a dataclass, from which the command line is made."""

import argparse
from dataclasses import MISSING, Field, dataclass, field, fields


class UsageError(ValueError):
    """Options that do not go together: the message comes with the usage."""


def option(help: str, default: object = None, **words) -> Field:
    """A field that is an option; `words` are those of `argparse.ArgumentParser.add_argument`."""
    return field(default=default, metadata={"help": help, **words})


def argument(help: str, **words) -> Field:
    """A field that is given by its place, without a name."""
    return field(metadata={"help": help, **words})


def required(help: str, **words) -> Field:
    """A field that is an option, and has to be given."""
    return field(metadata={"help": help, "required": True, **words})


def add_options(parser: argparse.ArgumentParser, settings: type) -> None:
    """Make an option of every field of `settings` that has a help."""
    for one in fields(settings):
        if "help" in one.metadata:
            by_place = one.default is MISSING and "required" not in one.metadata
            default = {} if one.default is MISSING else {"default": one.default}
            parser.add_argument(one.name if by_place else "--" + one.name.replace("_", "-"), **default, **one.metadata)


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


@dataclass(kw_only=True)
class Command:
    """What every command has."""

    words: tuple[str, ...] = ()  # as they were typed
