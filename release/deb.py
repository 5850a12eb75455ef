"""A Debian package of zsofs: ``./bootstrap.sh deb`` makes it in ``dist/``."""

import gzip
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from email.utils import formatdate
from pathlib import Path

from release import completion, environment, man_pages
from zsofs import __version__

_HERE = Path(__file__).parent
_ROOT = _HERE.parent
_PLACE = Path("/usr/lib/zsofs")
_MAINTAINER = "the zsofs developers <zsofs@zsofs.invalid>"  # there is no address to write to
_SUMMARY = "PS2 and PSP discs, kept compressed, mounted as plain .iso files"
_COMMON_LICENCES = (
    (r"Apache License\s+Version 2.0, January 2004", "Apache-2.0"),
    (r"GNU LESSER GENERAL PUBLIC LICENSE\s+Version 2.1", "LGPL-2.1"),
    (r"GNU LIBRARY GENERAL PUBLIC LICENSE\s+Version 2", "LGPL-2"),
)
_CONTROL = """\
Package: zsofs
Version: {version}
Architecture: {architecture}
Maintainer: {maintainer}
Installed-Size: {size}
Depends: {depends}
Recommends: libarchive13 | libarchive13t64
Section: utils
Priority: optional
Description: {summary}
{description}
"""


def main() -> int:
    """Make the package; prints where it is."""
    os.umask(0o022)
    dated = environment.date()
    os.environ["SOURCE_DATE_EPOCH"] = str(dated)  # dpkg-deb makes no time newer than this
    with tempfile.TemporaryDirectory(prefix="zsofs-deb-") as directory:
        stage = Path(directory) / "stage"
        packages = environment.build(stage, _PLACE)
        _add_links(stage)
        _add_documents(stage, packages, dated)
        _add_units(stage)
        _add_control(stage, Path(directory), dated)
        architecture = _output("dpkg", "--print-architecture")
        target = _ROOT / "dist" / f"zsofs_{_version(dated)}_{architecture}.deb"
        target.parent.mkdir(exist_ok=True)
        unfinished = target.with_name(target.name + ".new")
        _output("dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(stage), str(unfinished))
        unfinished.replace(target)
    print(target)
    directory = shlex.quote(str(target.parent))  # the ~ of the name needs no quotes
    print(f"Install it with: sudo apt install {directory}/{target.name}", file=sys.stderr)
    return 0


def _version(dated: int) -> str:
    """The program's version with the date of its sources and the release that it is built for.

    apt upgrades to newer sources, and from one release to the next with the same sources.
    """
    return f"{__version__}+{time.strftime('%Y%m%d%H%M%S', time.gmtime(dated))}~{_release()}"


def _release() -> str:
    """The release of the system that builds, such as ``deb12`` or ``ubuntu24.04``.

    Raises:
        SystemExit: the system does not say what it is.
    """
    try:
        system = platform.freedesktop_os_release()
    except OSError as error:
        raise SystemExit(f"zsofs: the release of this system is not known: {error}") from None
    name = {"debian": "deb"}.get(system["ID"], system["ID"])
    number = system.get("VERSION_ID") or system.get("VERSION_CODENAME", "")
    return re.sub(r"[^A-Za-z0-9.+~]", "", name + number)


def _output(*command: str, directory: Path | None = None) -> str:
    """Return what a command prints; what it complains of is shown only if it fails.

    Raises:
        SystemExit: it fails.
    """
    done = subprocess.run(command, cwd=directory, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{done.stderr}zsofs: {command[0]} failed; its message is above")
    return done.stdout.strip()


def _add_links(stage: Path) -> None:
    (stage / "usr/bin").mkdir()
    (stage / "usr/bin/zsofs").symlink_to(f"../lib/{_PLACE.name}/bin/zsofs")
    (stage / "usr/sbin").mkdir()
    for name in ("mount.zsofs", "mount.fuse.zsofs"):
        (stage / "usr/sbin" / name).symlink_to("../bin/zsofs")


def _add_documents(stage: Path, packages: Path, dated: int) -> None:
    for name, page in man_pages.pages().items():
        _write_packed(stage / f"usr/share/man/man{name[-1]}/{name}.gz", page)
    for name, target in man_pages.LINKS.items():
        (stage / f"usr/share/man/man{name[-1]}/{name}.gz").symlink_to(f"{target}.gz")
    for name, script in completion.SCRIPTS.items():
        _write(stage / name, script())
    documents = stage / "usr/share/doc/zsofs"
    for path in guide():
        _write_packed(documents / f"{path.name}.gz", path.read_text())
    _write_packed(documents / "changelog.gz", _changelog(dated))
    _write(documents / "copyright", _copyright(packages))
    _write(
        stage / "usr/share/lintian/overrides/zsofs",
        (_HERE / "debian/lintian-overrides").read_text(),
    )


def guide() -> list[Path]:
    """Return the pages that read well as they are, without Sphinx."""
    pages = sorted((_ROOT / "docs").glob("*.md"))
    readable = [path for path in pages if "```{" not in path.read_text()]
    return [_ROOT / "README.md", *readable, _ROOT / "docs" / "dev" / "zsoz.md"]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _write_packed(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def _changelog(dated: int) -> str:
    """CHANGELOG.md in the form that Debian's tools read."""
    text = (_ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## (\S+).*\n((?:(?!## ).*\n?)*)", text, re.M)
    return "\n".join(
        f"zsofs ({_version(dated) if version == __version__ else version}) stable;"
        " urgency=medium\n\n"
        + "".join(
            f"{_wrapped(item, '  * ', '    ')}\n"
            for item in re.findall(r"^- (.*(?:\n {2}.*)*)", news, re.M)
        )
        + f"\n -- {_MAINTAINER}  {formatdate(dated)}\n"
        for version, news in versions
    )


def _wrapped(text: str, first: str, other: str) -> str:
    # A line of a description cannot begin with a dot, so no line is broken before one.
    joined = " ".join(text.split()).replace(" .", "\0.")
    return textwrap.fill(
        joined, 78, initial_indent=first, subsequent_indent=other, break_on_hyphens=False
    ).replace("\0", " ")


def _copyright(packages: Path) -> str:
    parts = [
        "zsofs, with all that it needs in /usr/lib/zsofs.\n",
        (_ROOT / "LICENSE").read_text(),
        "In /usr/lib/zsofs there are also these packages, each under a license of its own:\n",
    ]
    for name, license, texts in environment.licenses(packages):
        shown = [_common(text) or text.strip() for text in texts]
        parts.append("\n\n".join([f"{'-' * 78}\n{name}: {license}", *shown]) + "\n")
    return "\n".join(parts)


def _common(text: str) -> str | None:
    """Where Debian keeps a license of this text, if it does."""
    for title, name in _COMMON_LICENCES:
        if re.search(title, text):
            return f"The whole text is in /usr/share/common-licenses/{name}."
    return None


def _add_units(stage: Path) -> None:
    for unit in sorted((_ROOT / "systemd").glob("system/*")):
        _write(stage / "usr/lib/systemd/system" / unit.name, unit.read_text())
    for unit in sorted((_ROOT / "systemd").glob("user/*")):
        _write(stage / "usr/lib/systemd/user" / unit.name, unit.read_text())


def _add_control(stage: Path, scratch: Path, dated: int) -> None:
    for path in stage.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
    files = sorted(path for path in stage.rglob("*") if path.is_file() and not path.is_symlink())
    sums = [(hashlib.md5(path.read_bytes()).hexdigest(), path) for path in files]
    directory = stage / "DEBIAN"
    directory.mkdir()
    _write(
        directory / "md5sums",
        "".join(f"{sum_}  {path.relative_to(stage)}\n" for sum_, path in sums),
    )
    size = sum(-(-path.stat().st_size // 1024) for path in files)
    for name in ("preinst", "postinst", "prerm", "postrm"):
        shutil.copy(_HERE / "debian" / name, directory / name)
        (directory / name).chmod(0o755)
    summary, description = _description()
    control = _CONTROL.format(
        version=_version(dated),
        architecture=_output("dpkg", "--print-architecture"),
        maintainer=_MAINTAINER,
        size=size,
        depends=_depends(stage, scratch),
        summary=summary,
        description=description,
    )
    _write(directory / "control", control)


def _depends(stage: Path, scratch: Path) -> str:
    """The packages of the shared libraries, and what is run: Python and fusermount3."""
    minor = sys.version_info.minor
    libraries = [str(path) for path in stage.rglob("*.so*")]
    _write(scratch / "debian/control", "Source: zsofs\n\nPackage: zsofs\nArchitecture: any\n")
    said = _output("dpkg-shlibdeps", "-O", *libraries, directory=scratch)
    shared = said.removeprefix("shlibs:Depends=")
    return f"python3 (>= 3.{minor}), python3 (<< 3.{minor + 1}), python3.{minor}, fuse3, {shared}"


def _description() -> tuple[str, str]:
    """The summary, and the first paragraph of the README."""
    text = (_ROOT / "README.md").read_text().split("\n\n")[1]
    return _SUMMARY, _wrapped(text.replace("`", ""), " ", " ")


if __name__ == "__main__":
    raise SystemExit(main())
