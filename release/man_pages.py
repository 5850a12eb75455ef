"""The manual pages, built by Sphinx from the pages in docs/.

The sdist has them in ``man/``, so that packages are made from it without Sphinx. In a clone, they
are built when they are needed.
"""

import os
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent
BUILT = ROOT / "man"

_COMMANDS = (
    "mount", "umount", "reload", "status", "top", "metrics", "web", "list", "pack", "unpack",
    "watch", "info", "verify", "service", "uninstall",
)  # fmt: skip
_AUTHOR = ""

# What Sphinx calls man_pages: page in docs/, name, summary, author, section.
MAN_PAGES = [
    ("reference/zsofs", "zsofs", "mount compressed PS2 and PSP discs as .iso files", _AUTHOR, 1),
    ("reference/zsofs-mount", "zsofs-mount", "mount a directory of discs", _AUTHOR, 1),
    ("reference/zsofs-umount", "zsofs-umount", "unmount", _AUTHOR, 1),
    ("reference/zsofs-reload", "zsofs-reload", "scan the source of a mount again", _AUTHOR, 1),
    ("reference/zsofs-top", "zsofs-top", "show what is read", _AUTHOR, 1),
    ("reference/zsofs-metrics", "zsofs-metrics", "print counters for Prometheus", _AUTHOR, 1),
    ("reference/zsofs-web", "zsofs-web", "show library and reads in a browser", _AUTHOR, 1),
    ("reference/zsofs-status", "zsofs-status", "show the state of mounts", _AUTHOR, 1),
    ("reference/zsofs-list", "zsofs-list", "list the discs in a directory", _AUTHOR, 1),
    ("reference/zsofs-pack", "zsofs-pack", "pack disc images into .zso or .cso files", _AUTHOR, 1),
    ("reference/zsofs-unpack", "zsofs-unpack", "unpack discs to plain images", _AUTHOR, 1),
    ("reference/zsofs-watch", "zsofs-watch", "pack what arrives in a directory", _AUTHOR, 1),
    ("reference/zsofs-info", "zsofs-info", "show details of disc images", _AUTHOR, 1),
    ("reference/zsofs-verify", "zsofs-verify", "check and identify disc images", _AUTHOR, 1),
    ("reference/zsofs-service", "zsofs-service", "manage mounts as systemd services", _AUTHOR, 1),
    ("reference/zsofs-uninstall", "zsofs-uninstall", "remove a portable installation", _AUTHOR, 1),
    ("reference/config", "zsofs.toml", "configuration of a zsofs mount", _AUTHOR, 5),
    ("mount", "zsofs-mounting", "what a zsofs mount shows and how it behaves", _AUTHOR, 7),
    ("services", "zsofs-services", "mounts as systemd services", _AUTHOR, 7),
    ("pack", "zsofs-packing", "pack and unpack disc images", _AUTHOR, 7),
    ("watch", "zsofs-watching", "pack what arrives in a directory", _AUTHOR, 7),
    ("verify", "zsofs-verifying", "check and identify discs", _AUTHOR, 7),
    ("writable", "zsofs-writable", "change files through a zsofs mount", _AUTHOR, 7),
    ("opl", "zsofs-opl", "the layout for Open PS2 Loader", _AUTHOR, 7),
    ("formats", "zsofs-formats", "the containers that zsofs reads", _AUTHOR, 7),
    ("troubleshooting", "zsofs-troubleshooting", "messages of zsofs and what to do", _AUTHOR, 7),
    ("reference/fstab", "mount.zsofs", "mount file systems of type zsofs", _AUTHOR, 8),
]
LINKS = {"mount.fuse.zsofs.8": "mount.zsofs.8"}
"""Pages under a second name."""

_LONGEST_LINE = 78


def pages() -> dict[str, str]:
    """Return the text of each page by its file name, such as ``zsofs.1``.

    Raises:
        SystemExit: Sphinx failed; its messages are in the exception.
    """
    if BUILT.is_dir() and not (ROOT / ".git").exists():
        return _read(BUILT)
    with tempfile.TemporaryDirectory(prefix="zsofs-man-") as directory:
        build(Path(directory))
        return _read(Path(directory))


def _read(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(directory.glob("*.[1-8]"))}


def build(target: Path, parsed: Path | None = None) -> None:
    """Build all pages in the directory *target* with Sphinx.

    Args:
        target: the directory.
        parsed: where Sphinx keeps the sources as it has parsed them, and finds those of another
            builder; None: it parses them.

    Raises:
        SystemExit: Sphinx failed; its messages are in the exception.
    """
    with tempfile.TemporaryDirectory(prefix="zsofs-doctrees-") as directory:
        doctrees = str(parsed or directory)
        command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "man"]
        command += ["-d", doctrees, str(ROOT / "docs"), str(target)]
        done = subprocess.run(
            command, cwd=ROOT, check=False, capture_output=True, text=True, env=_environment()
        )
    if done.returncode:
        raise SystemExit(f"{done.stdout}{done.stderr}zsofs: the manual pages cannot be built")
    for path in target.glob("*.[1-8]"):
        path.write_text(tidy(path.read_text()))


def _environment() -> dict[str, str]:
    """The environment of Sphinx: the date of the pages is that of the last commit."""
    environment = dict(os.environ)
    if "SOURCE_DATE_EPOCH" not in environment:
        said = subprocess.run(
            ["git", "-C", ROOT, "log", "-1", "--format=%ct"],
            capture_output=True,
            text=True,
            check=False,
        )
        if said.stdout:
            environment["SOURCE_DATE_EPOCH"] = said.stdout.strip()
    return environment


def tidy(page: str) -> str:
    """Return what Sphinx wrote in the form that mandoc and groff want.

    Lines are short, no macro is useless, words are not hyphenated, and characters that can be typed
    are not replaced by typographic ones.
    """
    return "".join(f"{line}\n" for line in _tidied(page.splitlines()))


def _tidied(lines: Iterable[str]) -> Iterable[str]:
    is_literal = is_tag = is_name = False
    last = ""
    for line in map(_ascii, lines):
        if line.startswith((".EX", ".EE")):
            is_literal = line.startswith(".EX")
        is_heading = last.startswith((".SH", ".SS"))
        is_control = line.startswith((".", "'"))
        if is_name and not line.startswith(".SH"):
            yield ".SH DESCRIPTION"  # a page of the guide begins with its text
            is_heading = True
        is_name = last == ".SH NAME"
        if line == ".sp" and is_heading:
            last = line
            continue
        if is_control:
            yield line
            if line.startswith(".TH "):
                # Groff hyphenates again after an example unless the register is 0, too.
                yield from (".ad l", ".nr HY 0", ".nh")
        elif is_literal or is_tag:
            yield _typed(line)
        else:
            yield from _wrapped(_typed(line))
        is_tag = line == ".TP"
        last = line


def _typed(line: str) -> str:
    for character, name in (("~", "ti"), ("^", "ha"), ("`", "ga")):
        line = line.replace(character, rf"\({name}")
    return line


def _ascii(line: str) -> str:
    return re.sub(r"[^\x00-\x7f]", lambda found: rf"\[u{ord(found[0]):04X}]", line)


def _wrapped(line: str) -> Iterable[str]:
    parts = textwrap.wrap(line, _LONGEST_LINE, break_long_words=False, break_on_hyphens=False)
    return (re.sub(r"^(?=[.'])", r"\\&", part) for part in parts)
