"""Types of option values for argparse."""

import argparse
from collections.abc import Callable

from zsofs.mount import options


def size(text: str) -> int:
    """Return the number of bytes in a text such as ``64M``."""
    try:
        return options.size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def level(text: str) -> int:
    """Return a compression level."""
    if not text.isdecimal() or not 1 <= int(text[:20]) <= 22:
        raise argparse.ArgumentTypeError(f"{text!r} is not a compression level from 1 to 22")
    return int(text)


def add_allow_links_to(parser: argparse.ArgumentParser, where: str) -> None:
    """Add ``--allow-links-to``; *where* is the directory in which it applies, for its help."""
    option = options.BY_NAME["allow-links-to"]
    parser.add_argument(
        f"--{option.name}",
        metavar=option.metavar,
        action="append",
        type=type_of(option),
        default=[],
        help=f"follow symlinks in {where} that lead into the directory DIR; may be repeated",
    )


def add_cd(parser: argparse.ArgumentParser) -> None:
    """Add ``--cd``, as a mount has it."""
    option = options.BY_NAME["cd"]
    parser.add_argument(
        f"--{option.name}",
        metavar=option.metavar,
        type=type_of(option),
        choices=option.choices,
        default=option.default,
        help=option.help,
    )


def type_of(option: options.Option) -> Callable[[str], object]:
    """Return the parser of an option whose errors argparse reports."""

    def parse(text: str) -> object:
        try:
            return option.parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse


def path(text: str) -> str:
    """Return a path unchanged; an empty one is an error."""
    if not text:
        raise argparse.ArgumentTypeError("'' is not a path")
    return text
