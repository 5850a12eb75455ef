"""Texts follow docs/dev/language.md: no banned phrase, US spelling, short sentences."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.language import (
    LONGEST_SENTENCE,
    ROOT,
    banned,
    long_sentences,
    phrases_in,
    text_of,
)

DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "ARCHITECTURE.md",
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts),
]
PROGRAM = [
    ROOT / "bootstrap.sh",
    *sorted(
        path
        for folder in ("zsofs", "release", "systemd")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".pyx", ".pxd", ".pyi", ".h", ".service")
    ),
]
RULES = ROOT / "docs" / "dev" / "language.md"  # it quotes what is banned
ALLOWED = {
    "docs/quick-start.md": {"folder"},  # it explains the word
    "zsofs/source/entry.py": {"folder"},  # a value of Kind
    "zsofs/source/scan_cache.py": {"folder"},  # a column of the scan cache
    "zsofs/vfs/node.py": {"folder"},  # the class in an annotation
}
VOCABULARY = Path(__file__).with_name("vocabulary.txt")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def misspelled(*paths: Path) -> list[str]:
    """What codespell reports: misspelled words, and British spelling."""
    command = [sys.executable, "-m", "codespell_lib", "--builtin", "clear,rare,en-GB_to_en-US"]
    command += ["--ignore-words", str(VOCABULARY), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 65), done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("path", [*DOCUMENTS, *PROGRAM], ids=name)
def test_no_banned_phrase(path: Path) -> None:
    found = phrases_in(text_of(path), banned()) if path != RULES else []
    found = [phrase for phrase in found if phrase not in ALLOWED.get(name(path), ())]
    assert found == [], f"write instead: {[banned()[phrase] for phrase in found]}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_sentences_are_short(path: Path) -> None:
    assert long_sentences(path.read_text()) == []


def test_spelling() -> None:
    wrong = misspelled(*DOCUMENTS, *PROGRAM)
    assert wrong == []


# What the checker finds.


@pytest.mark.parametrize(
    "text",
    [
        "The answer is said on the terminal.",
        "Programs\nthat read: who has\nit open gets an error.",
        "# So it is with\n# the others.",
        "FOLDERS are shown.",
    ],
)
def test_a_planted_phrase_is_found(text: str) -> None:
    assert len(phrases_in(text, banned())) == 1


@pytest.mark.parametrize(
    "text", ["The directory is printed.", "`source/folder.py`", "a folder_state", "--folder"]
)
def test_other_text_is_accepted(text: str) -> None:
    assert phrases_in(text, banned()) == []


def test_a_planted_phrase_is_found_in_each_part_of_a_program(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    for line in ('"""A folder."""', "# A folder.", 'print("a folder")', 'f"{1} a folder"'):
        program.write_text(f"folder = 1\n{line}\n")
        assert phrases_in(text_of(program), banned()) == ["folder"]
    names = '"""Use *folder*.\n\n    Args:\n        folder: a directory.\n    """'
    program.write_text(f'folder = 1\nf"in {{folder}}"\n{names}\n')
    assert phrases_in(text_of(program), banned()) == []


def test_a_planted_misspelling_is_found(tmp_path: Path) -> None:
    (tmp_path / "text.md").write_text("The colour is recieved.\n")
    (line,) = {one.rpartition(":")[0] for one in misspelled(tmp_path / "text.md")}
    assert line.endswith("text.md:1")
    assert len(misspelled(tmp_path / "text.md")) == 2


def test_a_planted_long_sentence_is_found() -> None:
    longest = " ".join(["word"] * LONGEST_SENTENCE)
    assert long_sentences(f"# Title\n\n{longest}. Another one.\n\n- {longest}\n- more\n") == []
    assert long_sentences(f"Short.\n{longest} more.\n") == [f"{longest} more."]
    assert long_sentences(f"```\n{longest} more\n```\n") == []
    assert long_sentences(f"| {longest} | {longest} |") == []


def test_the_rules_are_short_and_have_phrases() -> None:
    assert len(RULES.read_text().splitlines()) <= 120
    assert len(banned()) > 20
