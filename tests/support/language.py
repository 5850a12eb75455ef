"""Check texts for the rules of docs/dev/language.md: banned phrases and long sentences."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
RULES = ROOT / "docs" / "dev" / "language.md"
LONGEST_SENTENCE = 35  # words

_FENCE = re.compile(r"^(`{3,}).*?^\1$", re.M | re.S)
_NAMES = re.compile(r"\{[^{}]*\}|(`+)[^`]*\1|\*\w+\*|^ +\w+:(?= )", re.M)
"""Names in the code within a text: f-string values, code, parameters, and entries of Args."""

_ABBREVIATIONS = re.compile(r"\b(e\.g|i\.e|etc|vs|cf)\.")


def banned() -> dict[str, str]:
    """The phrases that no text may use, each with what to write instead."""
    section = re.search(r"^## Banned\n(.*?)(?=^## |\Z)", RULES.read_text(), re.M | re.S)
    assert section is not None, f"{RULES} has no section Banned"
    rows = re.findall(r"^\| *(.*?) *\| *(.*?) *\|$", section[1], re.M)
    return {phrase.strip("`"): instead for phrase, instead in rows[2:]}


def phrases_in(text: str, phrases: dict[str, str]) -> list[str]:
    """The banned phrases that a text uses; line breaks and comment marks in them do not matter."""
    joined = re.sub(r"\s*\n\s*(?:#+|//|\*|>)?\s*", " ", text)
    found = []
    for phrase in phrases:
        pattern = r"\s+".join(map(re.escape, phrase.split()))
        if re.search(rf"(?<![\w/.-]){pattern}(?![\w/-])", joined, re.IGNORECASE):
            found.append(phrase)
    return found


def prose(text: str) -> str:
    """Markdown without code blocks; what is in backticks counts as one word without a full stop."""
    text = _FENCE.sub("\n", text)
    text = re.sub(r"^    .*$", "", text, flags=re.M)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"(`+).*?\1", "code", text, flags=re.S)


def sentences(text: str) -> Iterator[str]:
    """The sentences of a Markdown text; a list item and a cell of a table begin anew."""
    for part in re.split(r"\n\s*\n|^\s*(?:[-*]|\d+\.|:) +|\||^#+ .*$", prose(text), flags=re.M):
        joined = _ABBREVIATIONS.sub(r"\1", " ".join(part.split()))
        yield from filter(None, re.split(r"(?<=[.!?:;])[\"”)*]* +(?=\S)", joined))


def long_sentences(text: str) -> list[str]:
    """The sentences of a Markdown text that are longer than allowed."""
    return [line for line in sentences(text) if len(line.split()) > LONGEST_SENTENCE]


def text_of(path: Path) -> str:
    """What people read of a file: of a program its comments, docstrings and strings."""
    text = path.read_text()
    if path.suffix == ".md":
        return re.sub(r"(`+).*?\1", " ", _FENCE.sub("\n", text), flags=re.S)
    if path.suffix != ".py":
        return text
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    kinds = {tokenize.COMMENT, tokenize.STRING}
    # An f-string is one token up to Python 3.11, and parts after it.
    kinds.add(getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING))
    texts = (token.string.strip("\"'") for token in tokens if token.type in kinds)
    return _NAMES.sub(" ", "\n".join(texts))
