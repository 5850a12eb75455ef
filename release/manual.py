"""The manual pages, from what prints ``--help`` and from the README: no text is typed twice."""

import re
from collections.abc import Iterable

from release import readme, roff
from release.commands import Block, Command, Option, zsofs
from zsofs import __version__
from zsofs.mount import options

_SOURCE = f"zsofs {__version__}"
_SECTIONS = (
    "What it reads",
    "How things are named",
    "While the source changes",
    "Changing files through the mount",
    "A share for Open PS2 Loader",
    "When something is wrong",
)
_TITLES = {  # as man-pages(7) calls them
    "exit codes": "Exit status",
    "When something is wrong": "Diagnostics",
}


def zsofs_1(date: str) -> str:
    """The page zsofs(1).

    Args:
        date: when what it describes was last changed, as in ``2024-05-31``.
    """
    whole = zsofs()
    ends = [command for command in whole.walk() if not command.commands]
    page = [
        roff.title("zsofs", 1, date, _SOURCE),
        roff.heading("Name"),
        roff.filled(f"zsofs \\- {roff.prose(_summary(whole))}"),
        roff.heading("Synopsis"),
        _synopses(usage for command in ends for usage in command.usage),
        roff.heading("Description"),
        roff.filled(roff.prose(whole.description)),
        roff.heading("Options"),
        *map(_option, whole.options),
        roff.heading("Commands"),
    ]
    for command in ends:
        page += [
            roff.subheading(" ".join(command.words)),
            _synopses(command.usage),
            roff.paragraph(roff.prose(command.description)),
            *map(_option, command.options),
            *(_block(block, inside=True) for block in command.blocks),
        ]
    page += [_block(block, inside=False) for block in whole.blocks]
    page += [roff.heading(_TITLES.get(title, title)) + readme.section(title) for title in _SECTIONS]
    page.append(_see_also("mount.zsofs(8)", "zsofs.toml(5)", "fusermount3(1)"))
    return "".join(page)


def mount_zsofs_8(date: str) -> str:
    """The page mount.zsofs(8): the options as fstab has them."""
    page = [
        roff.title("mount.zsofs", 8, date, _SOURCE),
        roff.heading("Name"),
        roff.filled("mount.zsofs, mount.fuse.zsofs \\- mount file systems of type zsofs"),
        roff.heading("Synopsis"),
        _synopses(["mount -t zsofs [-o OPT,OPT] SOURCE MOUNTPOINT"]),
        roff.heading("Description"),
        readme.section("In fstab"),
        roff.heading("Options"),
        *(roff.explained(_word(option), roff.prose(option.help)) for option in options.OPTIONS),
        _see_also("zsofs(1)", "zsofs.toml(5)", "fstab(5)", "mount(8)"),
    ]
    return "".join(page)


def zsofs_toml_5(date: str) -> str:
    """The page zsofs.toml(5): the options as a config has them."""
    page = [
        roff.title("zsofs.toml", 5, date, _SOURCE),
        roff.heading("Name"),
        roff.filled("zsofs.toml \\- mounts of zsofs under a name"),
        roff.heading("Synopsis"),
        _synopses(["/etc/zsofs/NAME.toml", "~/.config/zsofs/NAME.toml"]),
        roff.heading("Description"),
        readme.section("zsofs mount [OPTIONS] NAME"),
        roff.heading("Keys"),
        *(roff.explained(_key(option), roff.prose(option.help)) for option in options.OPTIONS),
        _see_also("zsofs(1)", "mount.zsofs(8)"),
    ]
    return "".join(page)


PAGES = {"zsofs.1": zsofs_1, "mount.zsofs.8": mount_zsofs_8, "zsofs.toml.5": zsofs_toml_5}


def _word(option: options.Option) -> str:
    if option.is_flag:
        return roff.bold(option.field)
    return roff.bold(option.name + "=") + roff.italic(option.metavar)


def _key(option: options.Option) -> str:
    if option.is_flag:
        return roff.bold(option.name + " = true")
    value = '"' + roff.italic(option.metavar) + '"'
    return f"{roff.bold(option.name + ' =')} {f'[{value}, ...]' if option.repeated else value}"


def _see_also(*pages: str) -> str:
    named = (re.sub(r"(.+)(\(\d\))", lambda m: roff.bold(m[1]) + m[2], page) for page in pages)
    return roff.heading("See also") + roff.filled(", ".join(named))


def _summary(whole: Command) -> str:
    text = whole.description.rstrip(".")
    return text[0].lower() + text[1:]


def _synopses(usages: Iterable[str]) -> str:
    return ".br\n".join(roff.filled(roff.words(usage)) for usage in usages)


def _option(option: Option) -> str:
    value = f" {roff.italic(option.metavar)}" if option.metavar else ""
    said = ", ".join(roff.bold(flag) for flag in option.flags) + value
    return roff.explained(said, roff.prose(option.text))


def _block(block: Block, *, inside: bool) -> str:
    if not block.title:
        return "".join(roff.paragraph(roff.prose(text)) for text, _ in block.items)
    if inside:
        head = roff.paragraph(roff.escaped(block.title.capitalize() + ":"))
    else:
        head = roff.heading(_TITLES.get(block.title, block.title))
    return head + "".join(
        roff.explained(roff.bold(what), roff.prose(text)) for what, text in block.items
    )
