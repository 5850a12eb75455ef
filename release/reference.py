"""Sphinx extension: the reference pages, made from the command line and the table of options.

Directives:
    ``synopsis``, ``description``, ``options``, ``remarks``: parts of ``zsofs COMMAND --help``.
    ``commands``: all commands, one line each, with links to their pages.
    ``exit-codes``: the exit codes.
    ``mount-options``: the options of a mount as ``config`` keys or as ``fstab`` options.
"""

import re
from collections.abc import Callable, Iterator
from typing import ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.builders.manpage import ManualPageBuilder
from sphinx.util.docutils import SphinxDirective

from release import man_pages
from release.commands import Command, Option, zsofs
from zsofs.cli.help_format import Block
from zsofs.mount import options as mount_options


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives, as Sphinx asks of an extension."""
    app.add_directive("synopsis", _Synopsis)
    app.add_directive("description", _Description)
    app.add_directive("options", _Options)
    app.add_directive("remarks", _Remarks)
    app.add_directive("commands", _Commands)
    app.add_directive("exit-codes", _ExitCodes)
    app.add_directive("mount-options", _MountOptions)
    app.add_builder(_ManPages, override=True)
    app.connect("doctree-resolved", _for_man)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def escaped(text: str) -> str:
    """Return a sentence of the help as Markdown; text in backticks is code already."""
    parts = text.split("`")
    for number in range(0, len(parts), 2):
        parts[number] = re.sub(r"([\\*_<>\[\]{}$|])", r"\\\1", parts[number])
    return "`".join(parts)


class _Generated(SphinxDirective):
    """A directive that is replaced by Markdown."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Return the nodes of the generated Markdown."""
        return self.parse_text_to_nodes("\n".join(self.lines()))

    def lines(self) -> Iterator[str]:
        """Yield the lines of the Markdown."""
        raise NotImplementedError

    def command(self) -> Command:
        """Return the command that the argument names, such as ``service install``."""
        words = ("zsofs", *(self.arguments[0].split() if self.arguments else ()))
        for command in zsofs().walk():
            if command.words == words:
                return command
        raise self.error(f"there is no command {' '.join(words)}")


class _Synopsis(_Generated):
    """How a command is called."""

    def lines(self) -> Iterator[str]:
        yield "```text"
        yield from self.command().usage
        yield "```"


class _Description(_Generated):
    """What a command does."""

    def lines(self) -> Iterator[str]:
        yield escaped(self.command().description)


class _Options(_Generated):
    """The options of a command, each with an anchor."""

    def lines(self) -> Iterator[str]:
        command = self.command()
        yield "``````{program} " + " ".join(command.words)
        yield "``````"
        yield ""
        for option in command.options:
            yield "``````{option} " + ", ".join(_spellings(option))
            yield ""
            yield escaped(option.text)
            yield "``````"
            yield ""


def _spellings(option: Option) -> Iterator[str]:
    for flag in option.flags:
        yield f"{flag} {option.metavar}" if option.metavar else flag


class _Remarks(_Generated):
    """The examples and remarks that follow the options in the help."""

    def lines(self) -> Iterator[str]:
        for block in self.command().blocks:
            if block.title == "exit codes":
                continue
            yield from _block(block)


def _block(block: Block) -> Iterator[str]:
    if not block.title:
        yield from (escaped(text) for text, _ in block.items)
    else:
        title = block.title.strip()
        yield f"**{escaped(title[0].upper() + title[1:])}**"
        yield ""
        if block.is_table:
            yield "```text"
            width = max(len(what) for what, _ in block.items) + 2
            yield from (f"{what:<{width}}{text}" for what, text in block.items)
            yield "```"
        else:
            yield from _definitions(iter(block.items))
    yield ""


def _definitions(items: Iterator[tuple[str, str]]) -> Iterator[str]:
    for what, text in items:
        yield f"`{what}`"
        yield f": {escaped(text)}"
        yield ""


class _Commands(_Generated):
    """All commands, with links to their pages."""

    def lines(self) -> Iterator[str]:
        for command in zsofs().commands:
            name = command.words[-1]
            yield f"[`zsofs {name}`](zsofs-{name}.md)"
            yield f": {escaped(command.summary)}"
            yield ""


class _ExitCodes(_Generated):
    """The exit codes of all commands."""

    def lines(self) -> Iterator[str]:
        (codes,) = (block for block in zsofs().blocks if block.title == "exit codes")
        yield "| code | meaning |"
        yield "|---:|---|"
        for code, meaning in codes.items:
            yield f"| {code} | {escaped(meaning)} |"


class _MountOptions(_Generated):
    """The options of a mount, in the spelling of a config or of fstab."""

    required_arguments = 1
    optional_arguments = 0

    def lines(self) -> Iterator[str]:
        spell: Callable[[mount_options.Option], str] = {"config": _key, "fstab": _fstab}[
            self.arguments[0]
        ]
        yield from _definitions((spell(option), option.help) for option in mount_options.OPTIONS)


def _key(option: mount_options.Option) -> str:
    if option.is_flag:
        return f"{option.name} = true"
    value = f'"{option.metavar}"'
    return f"{option.name} = {f'[{value}, ...]' if option.repeated else value}"


def _fstab(option: mount_options.Option) -> str:
    return option.field if option.is_flag else f"{option.name}={option.metavar}"


class _ManPages(ManualPageBuilder):
    """Sphinx's builder, in which a link leads to a name such as ``zsofs-opl(7)``."""

    _pages: ClassVar = {
        page: f"{name}({number})" for page, name, _, _, number in man_pages.MAN_PAGES
    }

    def get_target_uri(self, docname: str, typ: str | None = None) -> str:
        """Return the name of a man page; empty for a page that is none."""
        return self._pages.get(docname, "")


def _for_man(app: Sphinx, tree: nodes.document, page: str) -> None:
    """Prepare a page for man: links become names of man pages, and tables become lists."""
    if app.builder.name == "man":
        own = app.builder.get_target_uri(page)
        for link in list(tree.findall(nodes.reference)):
            target = link.get("refuri", "")
            if "://" not in target:
                link.replace_self(_named(link, target.partition("#")[0].replace(own, "")))
        _tables_to_lists(tree)


def _named(link: nodes.reference, target: str) -> list[nodes.Node]:
    """The text of a link, and the man page that it leads to, if it is another one."""
    name, _, section = target.partition("(")
    if not section:
        return list(link.children)
    if link.astext().replace(" ", "-") in (name, target):
        return [nodes.strong("", name), nodes.Text(f"({section}")]
    return [*link.children, nodes.Text(" ("), nodes.strong("", name), nodes.Text(f"({section})")]


def _tables_to_lists(tree: nodes.document) -> None:
    """Turn each table into a list: its first column, explained by the others."""
    for table in list(tree.findall(nodes.table)):
        items = nodes.definition_list()
        for body in table.findall(nodes.tbody):
            for row in body.findall(nodes.row):
                items += _item(row)
        table.replace_self(items)


def _item(row: nodes.row) -> nodes.definition_list_item:
    first, *others = row.children
    assert isinstance(first, nodes.entry)
    term = nodes.term()
    for paragraph in first.findall(nodes.paragraph):
        term += paragraph.children
    text = nodes.paragraph()
    for other in others:
        assert isinstance(other, nodes.entry)
        if other.children and text.children:
            text += nodes.Text("; ")
        for paragraph in other.findall(nodes.paragraph):
            text += paragraph.children
    return nodes.definition_list_item("", term, nodes.definition("", text))
