"""docs/troubleshooting.md has every message that zsofs can print, and none that it cannot.

The messages come from the source itself (support/printed.py), the entries from the document:
lines ``- **`message`**``, with words in capitals for what differs, above a text on them.
"""

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from errno import EACCES, EBUSY, EIO, EMFILE, ENOMEDIUM, ENOSPC, ENOTCONN, EPERM, EROFS, ESTALE
from pathlib import Path

import pytest

from tests.support.printed import ROOT, Parts, Text, Texts, texts

pytestmark = pytest.mark.xdist_group("troubleshooting")  # they share what takes long to make

DOCUMENT = ROOT / "docs" / "troubleshooting.md"
OF_OTHERS = "Errors in other programs"
"""The section with messages that are not zsofs's, so that nothing here can tell whether they are
right."""

MESSAGE = r"^- \*\*(`+)( ?)(.+)\2\1\*\*$"

REPORTS = {
    "discs.form2.find_form2": "only decides in which form a CD is shown",
    "console.progress_bars.Bars.check": "shown on a bar",
    "console.progress_bars._show_share": "shown on a bar",
    "discs.classify.RAW_CD": "names of kinds of files",
    "discs.classify._CD_2336": "names of kinds of files",
    "discs.classify._COMMON_IMAGES": "names of kinds of files",
    "discs.classify._DESCRIPTOR_IDS": "names of kinds of files",
    "discs.classify._DISC_SIGNATURES": "names of kinds of files",
    "discs.classify._SIGNATURES": "names of kinds of files",
    "discs.classify._TEXTS": "names of kinds of files",
    "discs.classify._apple": "names of kinds of files",
    "discs.classify._by_structure": "names of kinds of files",
    "discs.classify._disc_name": "names of kinds of files",
    "discs.classify._text": "names of kinds of files",
    "discs.classify.classify": "names of kinds of files",
    "archives.kinds.ArchiveKind": "names of kinds of files",
    "pack.archive_run._A_TEXT": "names of kinds of files",
    "pack.archive_run._NEEDLESS": "names of kinds of files",
    "cli.mount_command.run": "what went well",
    "cli.mount_command._mount_in_background": "what went well",
    "cli.mount_command._say_mounted": "what went well",
    "reading.stats._CAUSES": "the report that SIGUSR1 asks for",
    "reading.stats.cost_text": "the report that SIGUSR1 asks for",
    "cli.demo": "the sample disc",
    "vfs.follower.Follower.following": "a value of `zsofs status --json`",
    "source.left_out._WORDS": "parts of the sentence that source/left_out.py makes",
    "console.tables.STILL_COUNTING": "a part of the report of `zsofs status`",
    "vfs.present._SHOWN_TWICE": "never shown: the disc beside it is",
    "inspection.info._container": "a row of `zsofs info`",
    "inspection.info._disc": "a row of `zsofs info`",
    "inspection.info._of_image": "a row of `zsofs info`",
    "inspection.info._of_sheet": "rows of `zsofs info`",
    "inspection.info._rows": "rows of `zsofs info`",
    "inspection.info._rows_of_chd": "rows of `zsofs info`",
    "inspection.cue_facts.track_text": "rows of `zsofs info`",
    "inspection.known_start.KnownStart": "a row of `zsofs info`",
    "inspection.chd_facts.chd_facts": "a row of `zsofs info`",
    "cli.list_command._walk": "number of files scanned so far",
    "inspection.written_by": "names of programs",
    "formats.file_names.APPLE_DOUBLE": "names of kinds of files",
    "formats.file_names.IN_TRASH": "a reason, which source/left_out.py counts by",
    "pack.report._line": "the line of a file that is done",
    "pack.report._summary": "the last line of a run",
    "mount.state_report.StateReport.source_state": "a value of `zsofs status --json`",
    "mount.service._install": "what went well",
    "mount.service._list": "headings of a table",
    "mount.service._remove": "what went well",
    "mount.control.metrics._FAMILIES": "help of metrics, which Prometheus shows",
    "mount.top.layout": "the screen of `zsofs top`",
    "mount.control.status": "the report of `zsofs status`",
    "web.access.remarks": "what went well",
    "web.command._tell": "what went well",
    "web.http._received": "a response of the web page",
    "web.jobs": "a row on the web page",
    "web.access.Access": "a response of the web page",
    "web.access.too_many": "a response of the web page",
    "web.site": "responses of the web page",
    "web.service._install": "what went well",
    "web.service._remove": "what went well",
    "web.service._UNIT": "a unit",
    "web.service._SANDBOX": "a unit",
    "mount.readiness.state_line": "a line of `systemctl status`",
    "inspection.verify_report._line": "when a file was read",
    "preload.preloader.Preloader.serve": "the subject of a message",
    "watch.status": "the report of `zsofs status`",
    "watch.command._tell": "what went well",
    "watch.command._summary": "a line of `systemctl status`",
    "watch.error_file._MARK": "the first line of a text file",
    "system.own_processes._START": "a program",
    "watch.service.install": "what went well",
    "watch.service.listed": "headings of a table",
    "watch.service.remove": "what went well",
    "watch.watch.Watch._report": "what went well, and titles of notifications",
}
"""What prints something else than messages, with what that is: a module, a class, a function. What
is raised or logged there is a message all the same."""

NEVER_SHOWN = {
    "source.finding_rows._disc": "caught within the module",
    "source.finding_rows._sheet": "caught within the module",
    "source.finding_rows._text": "caught within the module",
    "inspection.verify_cache._whole": "caught within the module",
    "inspection.verify_cache._track": "caught within the module",
    "discs.cd_forms.files_of": "for callers that ask for what the form of the CD does not have",
    "formats.ziso_writer.ContainerLayout.of": "for images longer than any that zsofs opens",
    "archives.joined.Joined.seek": "caught by its callers",
    "vfs.shown_owner.ShownOwner.refuse_unseen": "an errno that fuse/error_guard.py does not log",
}
"""What raises errors whose words nobody gets to see, with the reason."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Messages above one text on them, and the section they are in."""

    section: str
    messages: tuple[str, ...]
    text: str


def entries() -> list[Entry]:
    found: list[Entry] = []
    for part in re.split(r"^## ", DOCUMENT.read_text(), flags=re.M):
        section, _, rest = part.partition("\n")
        blocks = [block for block in rest.split("\n\n") if block.strip()]
        for block, below in zip(blocks, [*blocks[1:], ""], strict=True):
            messages = [match[3] for match in re.finditer(MESSAGE, block, re.M)]
            if messages:
                assert len(messages) == block.strip().count("\n") + 1, block
                found.append(Entry(section, tuple(messages), below.strip()))
    return found


@pytest.fixture(scope="module")
def made() -> Texts:
    """All texts of the source, which remembers what can be made of them."""
    return Texts(texts())


@pytest.fixture(scope="module")
def found(made: Texts) -> list[Text]:
    """All texts of the source."""
    return made.texts


@pytest.fixture(scope="module")
def messages() -> list[str]:
    """All messages of the document that are zsofs's own."""
    return [said for entry in entries() if entry.section != OF_OTHERS for said in entry.messages]


def is_in(text: Text, owners: Iterable[str]) -> bool:
    return any(f"{text.owner}.".startswith(f"{owner}.") for owner in owners)


def is_message(text: Text) -> bool:
    """Whether people get to see it as an error, a warning or a remark."""
    if not text.has_words or is_in(text, NEVER_SHOWN):
        return False
    return text.is_raised or (text.is_sentence and not is_in(text, REPORTS))


def lacking(made: Texts, messages: Iterable[str]) -> list[str]:
    """Each text that is a message and not among *messages*, with its place."""
    used = frozenset[Parts]().union(*(made.making(message) or () for message in messages))
    return [
        f"{text.place}: {text.shown}"
        for text in made.texts
        if is_message(text) and text.parts not in used
    ]


def stale(made: Texts, messages: Iterable[str]) -> list[str]:
    """Each of *messages* that is not made from texts of the source."""
    return [message for message in messages if not made.making(message)]


def test_every_message_has_its_entry(made: Texts, messages: list[str]) -> None:
    assert sum(map(is_message, made.texts)) > 300
    without_entry = lacking(made, messages)
    assert without_entry == []


def test_no_entry_is_of_a_message_that_is_gone(made: Texts, messages: list[str]) -> None:
    assert len(messages) > 300
    without_message = stale(made, messages)
    assert without_message == []


@pytest.mark.parametrize("owner", [*REPORTS, *NEVER_SHOWN])
def test_what_is_left_out_is_there(found: list[Text], owner: str) -> None:
    """Else the word on it is out of date, and would hide what is called so one day."""
    raises = owner in NEVER_SHOWN
    assert any(
        is_in(text, [owner]) and (text.is_raised if raises else text.is_sentence) for text in found
    )


def test_each_message_has_one_text(found: list[Text]) -> None:
    said = [message for entry in entries() for message in entry.messages]
    assert not [message for message, count in Counter(said).items() if count > 1]
    for entry in entries():
        assert entry.text, f"no text for {entry.messages}"
        assert not entry.text.startswith(("#", "- **`")), f"no text for {entry.messages}"


def test_messages_of_others_are_in_their_own_section() -> None:
    others = [said for entry in entries() if entry.section == OF_OTHERS for said in entry.messages]
    for number in (ENOTCONN, EIO, EROFS, EACCES, EPERM, EBUSY, ENOMEDIUM, ESTALE, ENOSPC, EMFILE):
        assert os.strerror(number) in others


def test_every_link_of_the_document_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]*)#?([^)]*)\)", DOCUMENT.read_text())
    sections = re.findall(r"^## (.*)$", DOCUMENT.read_text(), re.M)
    assert len(links) > len(sections)
    assert {anchor(section) for section in sections} <= {name for path, name in links if not path}
    for path, name in links:
        target = DOCUMENT.parent / path if path else DOCUMENT
        titles = re.findall(r"^#+ (.*)$", target.read_text(), re.M)
        assert name in map(anchor, titles), (path, name)


def anchor(title: str) -> str:
    """The name that a heading has as the target of a link."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def test_the_readme_leads_to_it() -> None:
    assert "](docs/troubleshooting.md)" in (ROOT / "README.md").read_text()


# What is a message, and what a sentence is made of.

MODULE = '''
"""A module of this kind."""

import argparse

WHAT_TO_DO = "look at the cable"
HELP = "what this command does"


def fail(path, error, kind: "int or str"):
    """Fail in this way."""
    log.info("%s: looked at %d times", path, 3)
    connection.execute("SELECT path FROM here", ())
    if error:
        raise InputError(f"{path}: broken: {error}")
    raise InputError(f"{path} cannot be read: {WHAT_TO_DO}")


def remark(size):
    reason = "no disc"
    if size:
        reason += f": it has {size:,} bytes too many"
    return reason


def arguments(parser):
    parser.add_argument("--word", help="no message at all", metavar="ONE OF TWO")
    parser.description = HELP
    parser.add_parser("name", description=HELP)
'''

KERNEL = '''
"""A kernel of this kind."""

REASONS = {
    # "said in a comment"
    1: "it begins at {a}, not at {b}",
}


def fail(count):
    """Fail in this way."""
    if count:
        raise ValueError("a mistake of the caller")
    raise MemoryError("memory")
'''

SCRIPT = """#!/bin/sh
say "looking at $1"
[ "$HOME" ] || die "there is no home folder;" \\
    "give one in $(listed "$(places)") with HOME=\\$X"
die_with_log "$4; what happened is in $log"
"""

OF_MODULE = {
    "…: looked at … times",
    "…: broken: …",
    "… cannot be read: …",
    "look at the cable",
    "no disc",
    ": it has … bytes too many",
}
OF_KERNEL = {"it begins at …, not at …", "memory"}
OF_SCRIPT = {
    "there is no home folder; give one in … with HOME=$X",
    "…; what happened is in …",
}


@pytest.fixture
def small(tmp_path: Path) -> Texts:
    """The texts of a small program."""
    (tmp_path / "zsofs").mkdir()
    (tmp_path / "zsofs" / "reading.py").write_text(MODULE)
    (tmp_path / "zsofs" / "_kernel.pyx").write_text(KERNEL)
    (tmp_path / "bootstrap.sh").write_text(SCRIPT)
    return Texts(texts(tmp_path))


def test_what_a_message_is(small: Texts) -> None:
    told = {text.shown for text in small.texts if is_message(text)}
    assert told == OF_MODULE | OF_KERNEL | OF_SCRIPT


SENTENCES = (
    "FILE: looked at NUMBER times",
    "FILE: broken: it begins at NUMBER, not at NUMBER",
    "FILE cannot be read: look at the cable",
    "no disc: it has NUMBER bytes too many",
    "memory",
    "there is no home folder; give one in FOLDER with HOME=$X",
    "REASON; what happened is in FILE",
)


def test_sentences_that_are_made_of_several(small: Texts) -> None:
    assert stale(small, SENTENCES) == []
    assert lacking(small, SENTENCES) == []


@pytest.mark.parametrize(
    "sentence",
    [
        "FILE: looked at many times",
        "FILE: looked at NUMBER times a day",
        "FILE: broken: it begins at NUMBER",
        "FILE cannot be read: look at the disk",
        "no disc: memory and more",
        "no message at all",
        "what this command does",
        "said in a comment",
        "a mistake of the caller",
        "looking",
        "FILE",
        "Fail in this way.",
    ],
)
def test_sentences_that_nothing_prints(small: Texts, sentence: str) -> None:
    assert stale(small, [sentence]) == [sentence]


def test_what_is_lacking_is_named_with_its_place(small: Texts) -> None:
    line = MODULE.splitlines().index('    raise InputError(f"{path} cannot be read: {WHAT_TO_DO}")')
    others = [sentence for sentence in SENTENCES if "cannot" not in sentence]
    assert lacking(small, others) == [
        "zsofs/reading.py:6: look at the cable",
        f"zsofs/reading.py:{line + 1}: … cannot be read: …",
    ]


def test_a_new_message_and_one_that_was_changed(tmp_path: Path, messages: list[str]) -> None:
    """In the real source, with one line more and one word less."""
    for name in ("zsofs", "bootstrap.sh"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    errors = tmp_path / "zsofs" / "errors.py"
    kernel = tmp_path / "zsofs" / "native" / "block_reader.pyx"
    lines = len(errors.read_text().splitlines())
    with errors.open("a") as file:
        file.write('\n\ndef new() -> None:\n    raise UsageError(f"{__name__} is new here")\n')
    said = kernel.read_text()
    kernel.write_text(said.replace('"its stored length is 0"', '"its length is none"'))
    changed = Texts(texts(tmp_path))
    line = said[: said.index('"its stored length is 0"')].count("\n") + 1
    assert {
        f"zsofs/errors.py:{lines + 4}: … is new here",
        f"zsofs/native/block_reader.pyx:{line}: its length is none",
    } <= set(lacking(changed, messages))
    assert "its stored length is 0" in stale(changed, messages)
