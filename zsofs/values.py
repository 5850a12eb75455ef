"""What stands behind an option, checked: for argparse, which tells what is wrong."""

import argparse
import re

_UNITS = {"": 0, "K": 10, "M": 20, "G": 30}


def size(text: str) -> int:
    """Bytes, from a text such as ``64M``."""
    match = re.fullmatch(r"(\d{1,12})([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 64M or 1G")
    return int(match[1]) << _UNITS[match[2].upper()]


def level(text: str) -> int:
    """A level of compression."""
    if not text.isdecimal() or not 1 <= int(text) <= 22:
        raise argparse.ArgumentTypeError(f"{text!r} is not a level from 1 to 22")
    return int(text)


def path(text: str) -> str:
    """A path as it was given."""
    if not text:
        raise argparse.ArgumentTypeError("'' is not a path")
    return text
