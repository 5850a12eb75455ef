"""What zsofs can print, collected from its source: every text with its file, line and gaps.

A text is a string of the source; where a value is put into it, it has a gap. Sentences that are
put together are several texts here: a frame such as ``{file}: cannot be read at {place}: {why}``,
and what fills its gaps. :class:`Texts` tells of which ones a sentence may consist.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

Parts = tuple[str, ...]
"""What stands before, between and behind the gaps of a text."""

_GAP = "\0"
_FRAMES: frozenset[Parts] = frozenset((("", ": ", ""), ("“", "”")))
"""Texts without words that a sentence may be put into. Others, such as that of a table, would let
anything pass for a message."""

_PLACEHOLDER = re.compile(r"'?(?:zsofs )?[A-Z][A-Z0-9]*(?:[ /][A-Z][A-Z0-9]*)*'?")
"""What stands for a value in a document: words in capitals, with the quotes of ``!r``."""

_SENTENCE = re.compile(r"[A-Za-z]{2} [a-z]{2}")
"""Two words in a row are human-readable text; keys, paths and formats have none."""

_FOR_FILES = re.compile(r"# |(?:PRAGMA|SELECT|INSERT|DELETE|CREATE|BEGIN)\b")
"""Comments in files that are written, and SQL."""

_PERCENT = re.compile(r"%(?:\.\d+)?[sdrf]|\{\w*\}")
_LOGGED = frozenset(("debug", "info", "warning", "error", "exception", "critical", "log"))
_HELP = frozenset(
    (
        "add_parser",
        "add_argument",
        "add_argument_group",
        "add_command",
        "add_subparsers",
        "CommandParser",
        "_add",
        "Option",
    )
)
"""What makes the command line: its texts are --help, which the manual pages have, too."""

_MISTAKES = frozenset(("ValueError", "TypeError", "RuntimeError"))
"""What the native kernel raises when Python calls it wrongly: nobody but developers sees it."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text that is in the source.

    Attributes:
        parts: what stands before, between and behind its gaps.
        place: file and line, for messages.
        owner: what has it, as in ``fuse.error_guard.guarded``: a function, class or constant.
        is_sentence: whether its form is that of human-readable text.
        is_raised: whether it is handed to an exception or to the log.
    """

    parts: Parts
    place: str
    owner: str
    is_sentence: bool
    is_raised: bool

    @property
    def shown(self) -> str:
        return "…".join(self.parts)

    @property
    def has_words(self) -> bool:
        return any(letter.isalpha() for part in self.parts for letter in part)


def texts(root: Path = ROOT) -> list[Text]:
    """All texts of the modules, the native kernel and the scripts, in a folder like ours."""
    found: list[Text] = []
    for path in sorted((root / "zsofs").rglob("*.py")):
        found += _Module(path, root).texts()
    for path in sorted((root / "zsofs").rglob("*.pyx")):
        found += _of_cython(path, root)
    for path in (root / "bootstrap.sh", *sorted((root / "release").glob("portable_files/*.sh"))):
        found += _of_shell(path)
    return found


class _Module:
    """The texts of one module."""

    def __init__(self, path: Path, root: Path) -> None:
        self._path, self._root = path, root
        tree = ast.parse(path.read_text())
        self._nodes = list(ast.walk(tree))
        self._above = {child: node for node in self._nodes for child in ast.iter_child_nodes(node)}
        self._help = {
            name.id
            for node in self._nodes
            if _called(node) in _HELP
            for name in ast.walk(node)
            if isinstance(name, ast.Name)
        }

    def texts(self) -> Iterator[Text]:
        for node in self._nodes:
            above = self._above.get(node)
            if (
                not isinstance(node, ast.JoinedStr | ast.Constant)
                or isinstance(above, ast.JoinedStr | ast.Expr)
                or (isinstance(above, ast.FormattedValue) and above.format_spec is node)
            ):
                continue  # part of another text, or a docstring
            parts = _parts(node)
            if parts is None or self._is_other(node):
                continue
            shown = _GAP.join(parts)
            yield Text(
                parts,
                f"{self._path.relative_to(self._root)}:{node.lineno}",
                self._owner(node),
                bool(_SENTENCE.search(shown)) and not _FOR_FILES.match(shown),
                self._is_raised(node),
            )

    def _ancestors(self, node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
        """Each node above, with the one below it."""
        while node in self._above:
            yield self._above[node], node
            node = self._above[node]

    def _is_other(self, node: ast.AST) -> bool:
        """Whether it is no text at all: --help, a list of words, or a type."""
        for above, below in self._ancestors(node):
            if _called(above) in _HELP:
                return True
            if isinstance(above, ast.Attribute) and above.attr == "split":
                return True
            if isinstance(above, ast.FunctionDef | ast.AsyncFunctionDef):
                return below not in above.body
            if isinstance(above, ast.arg) or (
                isinstance(above, ast.AnnAssign) and below is above.annotation
            ):
                return True
            if isinstance(above, ast.Assign) and isinstance(self._above[above], ast.Module):
                names = {name.id for name in above.targets if isinstance(name, ast.Name)}
                return bool(names & self._help)
        return False

    def _is_raised(self, node: ast.AST) -> bool:
        """Whether it is handed to an exception or the log, however it is put together there."""
        for above, _ in self._ancestors(node):
            if isinstance(above, ast.stmt | ast.FormattedValue):
                return False
            called = _called(above)
            if called.endswith(("Error", "_Skipped", "_failure")) or called in _LOGGED:
                return True
            if called:
                return False
        return False

    def _owner(self, node: ast.AST) -> str:
        names = [_module(self._path, self._root)]
        for above, _ in reversed(list(self._ancestors(node))):
            if isinstance(above, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.append(above.name)
            elif isinstance(above, ast.Assign) and len(names) == 1:
                names += [name.id for name in above.targets if isinstance(name, ast.Name)]
        return ".".join(names[:3])


def _module(path: Path, root: Path) -> str:
    """Dotted name of a module, without the package's own."""
    return ".".join(path.relative_to(root / "zsofs").with_suffix("").parts)


def _called(node: ast.AST) -> str:
    if not isinstance(node, ast.Call):
        return ""
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _parts(node: ast.expr) -> Parts | None:
    """What stands around the gaps of a string; None if it is no string."""
    if isinstance(node, ast.Constant):
        return tuple(_PERCENT.split(node.value)) if isinstance(node.value, str) else None
    if not isinstance(node, ast.JoinedStr):
        return None
    text = "".join(
        str(value.value) if isinstance(value, ast.Constant) else _GAP for value in node.values
    )
    return tuple(text.split(_GAP))


_CYTHON = re.compile(
    r"""(?P<comment>\#.*)|(?P<docstring>\"{3}(?:.|\n)*?\"{3})
    |(?:\b(?P<call>\w+)\(\s*)?(?P<string>(?:[rfb]?"(?:\\.|[^"\\\n])*"\s*)+)""",
    re.VERBOSE,
)


def _of_cython(path: Path, root: Path) -> Iterator[Text]:
    text = path.read_text()
    for found in _CYTHON.finditer(text):
        if found["string"] is None or found["string"].startswith("b"):
            continue
        node = ast.parse(f"({found['string']})", mode="eval").body
        parts, call = _parts(node), found["call"] or ""
        if parts is None or call in _MISTAKES:
            continue
        line = text.count("\n", 0, found.start("string")) + 1
        yield Text(
            parts,
            f"{path.relative_to(root)}:{line}",
            _module(path, root),
            bool(_SENTENCE.search(_GAP.join(parts))),
            call.endswith("Error"),
        )


_SHELL_STRINGS = re.compile(
    r"""(?:\b(?P<call>\w+)[ ])?(?P<said>(?:"(?:\\.|[^"\\])*"\s*(?:\\\n\s*)?)+)""", re.VERBOSE
)
_SHELL_STRING = re.compile(r'"((?:\\.|[^"\\])*)"')
_SHELL_GAP = re.compile(r"(?<!\\)\$(?:\((?:[^()]|\([^()]*\))*\)|\{[^}]*\}|\w+|\*)")


def _of_shell(path: Path) -> Iterator[Text]:
    """The sentences of a script; its function ``die`` is what it fails with."""
    # A string within a substitution within a string would end it here.
    text = re.sub(r'"(\$\w+|\$\(\w+\))"\)', r"\1)", path.read_text())
    for found in _SHELL_STRINGS.finditer(text):
        strings = _SHELL_STRING.findall(found["said"])
        fails = (found["call"] or "").startswith("die")
        line = text.count("\n", 0, found.start()) + 1
        for said in [" ".join(strings)] if fails else strings:
            parts = tuple(re.sub(r"\\(.)", r"\1", part) for part in _SHELL_GAP.split(said))
            if any(map(_SENTENCE.search, parts)):
                yield Text(parts, f"{path.name}:{line}", path.stem, fails, fails)


class Texts:
    """Of which texts a sentence may consist."""

    def __init__(self, texts: Iterable[Text]) -> None:
        self.texts = list(texts)
        every = {text.parts for text in self.texts if text.has_words} | _FRAMES
        self._whole = {parts for parts in every if len(parts) == 1}
        self._some = [parts for parts in every if len(parts) > 1 or _can_be_added(parts)]
        self._known: dict[str, frozenset[Parts] | None] = {}

    def making(self, sentence: str) -> frozenset[Parts] | None:
        """The texts of which *sentence* can consist; None if it cannot be put together from any.

        A gap is filled with a placeholder, with nothing, or with what is put together itself. What
        begins with a space or a mark may also follow what is put together: it is added to it.
        """
        return self._making(sentence, self._some)

    def _making(self, sentence: str, some: list[Parts]) -> frozenset[Parts] | None:
        """The same, for a part of a sentence that contains no texts but *some*."""
        if sentence not in self._known:
            if not sentence or _PLACEHOLDER.fullmatch(sentence):
                self._known[sentence] = frozenset()
                return frozenset()
            used: set[Parts] = set()
            if (sentence,) in self._whole:
                used.add((sentence,))
            some = [parts for parts in some if all(part in sentence for part in parts)]
            for parts in some:
                if not sentence.endswith(parts[-1]):
                    continue
                if len(parts) > 1 and sentence.startswith(parts[0]):
                    used |= self._filling(parts, sentence, some)
                if _can_be_added(parts):
                    used |= self._adding(parts, sentence, some)
            self._known[sentence] = frozenset(used) or None
        return self._known[sentence]

    def _filling(self, parts: Parts, sentence: str, some: list[Parts]) -> set[Parts]:
        """The texts of all ways in which *parts* make a sentence, with what is in the gaps."""
        used: set[Parts] = set()
        for filled in _fillings(parts, sentence):
            made = {parts}
            for gap in filled:
                in_gap = self._making(gap, some)
                if in_gap is None:
                    break
                made |= in_gap
            else:
                used |= made
        return used

    def _adding(self, parts: Parts, sentence: str, some: list[Parts]) -> set[Parts]:
        """The same of *parts* as the end of a sentence."""
        used: set[Parts] = set()
        begin = sentence.find(parts[0], 1)
        while begin > 0:
            end = self._filling(parts, sentence[begin:], some)
            before = self._making(sentence[:begin], some) if end else None
            if before is not None:
                used |= end | before
            begin = sentence.find(parts[0], begin + 1)
        return used


def _can_be_added(parts: Parts) -> bool:
    """Whether a text can follow another: it begins with a space or a mark."""
    return parts[0] != "" and not parts[0][0].isalnum()


def _fillings(parts: Parts, sentence: str) -> Iterator[list[str]]:
    """Every way to fill the gaps between *parts* so that *sentence* comes out."""
    first, *others = parts
    if not sentence.startswith(first) or not all(part in sentence for part in others):
        return
    rest = sentence[len(first) :]
    if not others:
        if not rest:
            yield []
        return
    following = others[0]
    if len(others) == 1:
        if rest.endswith(following):
            yield [rest[: len(rest) - len(following)]]
        return
    begin = rest.find(following)
    while begin >= 0:
        for filled in _fillings(tuple(others), rest[begin:]):
            yield [rest[:begin], *filled]
        begin = rest.find(following, begin + 1)
