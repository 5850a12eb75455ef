"""Text to the language of manual pages (man(7)), nothing more."""

import re
import textwrap

_WIDTH = 79  # mandoc wants no longer lines; the text is filled anew for the screen


def escaped(text: str) -> str:
    """Text that is shown just as it is, wherever it stands."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    text = text.replace("'", "\\(aq").replace("`", "\\(ga").replace("^", "\\(ha")
    text = text.replace("~", "\\(ti")
    return re.sub(r"[^\x00-\x7f]", lambda found: f"\\[u{ord(found[0]):04X}]", text)


def literal(line: str) -> str:
    """A line that is shown just as it is, all of it."""
    return re.sub(r"^(?=[.'])", r"\\&", escaped(line))


def bold(text: str) -> str:
    """Words to be typed as they are."""
    return rf"\fB{escaped(text)}\fR"


def italic(text: str) -> str:
    """Words that stand for others."""
    return rf"\fI{escaped(text)}\fR"


def prose(text: str) -> str:
    """A sentence of the help: what is in backticks is bold."""
    parts = text.split("`")
    return "".join(bold(part) if number % 2 else escaped(part) for number, part in enumerate(parts))


def words(text: str) -> str:
    """A synopsis: names in capitals are italic, all other words are bold."""

    def dressed(match: "re.Match[str]") -> str:
        word = match[0]
        return italic(word) if re.fullmatch(r"[A-Z]{2,}|[A-Z]", word) else bold(word)

    return re.sub(r"[^\s\[\]|,=]+", dressed, text)


def filled(text: str) -> str:
    """Text that is already roff, in lines; none begins with what roff takes for a command."""
    lines = textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return "".join(re.sub(r"^(?=[.'])", r"\\&", line) + "\n" for line in lines) or "\\&\n"


def title(name: str, section: int, date: str, source: str) -> str:
    """The first line of a page, and that words are never broken: they may be typed.

    The register is for groff, which breaks words again behind an example.
    """
    return f'.TH {name.upper()} {section} "{date}" "{source}" "zsofs"\n.ad l\n.nr HY 0\n.nh\n'


def heading(text: str) -> str:
    """A section."""
    return f".SH {text.upper()}\n"


def subheading(text: str) -> str:
    """A section of a section."""
    return f".SS {escaped(text)}\n"


def paragraph(text: str) -> str:
    """A paragraph that is already roff, after another."""
    return f".PP\n{filled(text)}"


def explained(what: str, text: str) -> str:
    """Something, already roff, with its explanation below."""
    return f".TP\n{what}\n{filled(text)}"
