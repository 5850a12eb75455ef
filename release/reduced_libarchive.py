"""libarchive with only the formats that zsofs reads, for the portable build.

That of Debian also reads XAR with libxml2, and so brings ICU: 37 MB for which zsofs has no use.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

from zsofs.archives.libarchive import FORMATS, FUNCTIONS, LIBRARY

_LIBRARIES = ("lzma", "z", "bz2", "zstd", "lz4", "nettle")
"""What reads those formats; the linker leaves out those that are not needed."""


def link(directory: Path) -> Path:
    """Link the library from Debian's static one; return its path in *directory*.

    Raises:
        SystemExit: libarchive-dev or the linker is missing, or the library needs more than that.
    """
    names = [*FUNCTIONS, *(f"archive_read_support_format_{name}" for name in FORMATS.values())]
    exported = directory / "libarchive.map"
    exported.write_text("".join(["{ global: ", *(f"{name}; " for name in names), "local: *; };\n"]))
    target = directory / LIBRARY
    done = subprocess.run(
        ["gcc", "-shared", "-o", target, *_options(names, exported)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{done.stderr}zsofs: {LIBRARY} could not be linked; see above")
    return target


def _options(names: list[str], exported: Path) -> Iterator[str]:
    yield f"-Wl,-soname,{LIBRARY},--version-script={exported}"
    # Debian's objects are position-independent, but only within one program.
    yield "-Wl,-Bsymbolic,--gc-sections,--as-needed,-z,defs,-z,text,--build-id=none"
    yield from (f"-Wl,-u,{name}" for name in names)
    yield "-l:libarchive.a"
    yield from (f"-l{name}" for name in _LIBRARIES)
