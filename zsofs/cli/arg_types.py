"""What stands behind an option, checked: for argparse, which tells what is wrong."""

import argparse

from zsofs.mount import options


def size(text: str) -> int:
    """Bytes, from a text such as ``64M``."""
    try:
        return options.size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def level(text: str) -> int:
    """A level of compression."""
    if not text.isdecimal() or not 1 <= int(text[:20]) <= 22:
        raise argparse.ArgumentTypeError(f"{text!r} is not a level from 1 to 22")
    return int(text)


def add_allow_links_to(parser: argparse.ArgumentParser, where: str) -> None:
    """Add the option that has symlinks followed; *where* says which ones, for its help."""
    option = options.BY_NAME["allow-links-to"]

    def parse(text: str) -> object:
        try:
            return option.parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    parser.add_argument(
        f"--{option.name}",
        metavar=option.metavar,
        action="append",
        type=parse,
        default=[],
        help=f"follow symlinks in {where} whose target is in the directory DIR or below it; may be"
        " repeated",
    )


def path(text: str) -> str:
    """A path as it was given."""
    if not text:
        raise argparse.ArgumentTypeError("'' is not a path")
    return text
