"""The source directory and the directories of `--allow-links-to` as one tree. Pure functions.

A path in the source is relative to it, and the empty path is the source itself. A path in another
root is absolute. No directory has two paths: what lies in the source has a relative one, although
a root may contain the source; and a root that lies in the source or in another root is left out.
"""

from dataclasses import dataclass

from zsofs.source.relpath import is_at_or_below

_REPEATED = "shown empty: it is the source directory itself, which is already shown"


@dataclass(frozen=True, slots=True)
class Roots:
    """Directories below which paths are resolved.

    Attributes:
        source: real path of the source directory.
        others: real paths of the directories that symlinks may lead to; none contains another.
    """

    source: bytes
    others: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, source: bytes, allowed: tuple[bytes, ...]) -> "Roots":
        """Return the roots without those that lie in the source or in each other."""
        kept: list[bytes] = []
        for path in sorted(set(allowed)):
            if not any(_is_in(path, top) for top in (source, *kept)):
                kept.append(path)
        return cls(source, tuple(kept))

    @property
    def all(self) -> tuple[bytes, ...]:
        """Real paths of the source and the other roots."""
        return self.source, *self.others

    @property
    def repeated(self) -> dict[bytes, str]:
        """The source as a directory of another root, with the reason why it is not entered."""
        inside = any(_is_in(self.source, other) for other in self.others)
        return {self.source: _REPEATED} if inside else {}

    def real(self, path: bytes) -> bytes:
        """Return the absolute path of *path*."""
        if path.startswith(b"/"):
            return path
        return self.source.rstrip(b"/") + b"/" + path if path else self.source

    def path_of(self, real: bytes) -> bytes | None:
        """Return the path of an absolute path without symlinks; None if it is in no root."""
        if _is_in(real, self.source):
            return real[len(self.source.rstrip(b"/")) + 1 :]
        return real if any(_is_in(real, other) for other in self.others) else None

    def split(self, path: bytes) -> tuple[bytes, list[bytes]]:
        """Return the root that *path* lies in, empty for the source, and the names below it.

        Raises:
            ValueError: it lies in no root.
        """
        if not path.startswith(b"/"):
            return b"", path.split(b"/") if path else []
        for other in self.others:
            if path == other:
                return other, []
            if _is_in(path, other):
                return other, path[len(other) + 1 :].split(b"/")
        raise ValueError(path)

    def has(self, path: bytes) -> bool:
        """Return whether *path* lies in the source or another root."""
        return not path.startswith(b"/") or self.path_of(path) is not None

    def is_above(self, real: bytes) -> bool:
        """Return whether a root lies in the directory *real*, or is it."""
        return any(_is_in(root, real) for root in self.all)


def is_outside(path: bytes) -> bool:
    """Return whether *path* lies in a root other than the source."""
    return path.startswith(b"/")


def _is_in(path: bytes, top: bytes) -> bool:
    return is_at_or_below(path, top.rstrip(b"/"))
