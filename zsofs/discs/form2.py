"""Whether files of a CD need the bytes of its sectors that an image of 2048-byte sectors lacks.

CD-ROM XA has sectors of two forms: form 1 has 2048 bytes of data and parity, form 2 has 2324 bytes
of sound or video. Which a file uses is written into its directory record, so no sector of it is
read. Empty sectors of form 2 behind the last file, as a postgap has them, belong to no file and do
not count.
"""

from collections.abc import Callable
from dataclasses import dataclass

from zsofs.discs.file_map import Walk
from zsofs.discs.iso9660 import Image

_FORM_2 = 0x1000
_INTERLEAVED = 0x2000
_CD_DA = 0x4000
_BEYOND_FORM_1 = _FORM_2 | _INTERLEAVED | _CD_DA
"""Attributes of files with sectors of form 2, of both forms, and with sound of an audio track
(CD-ROM XA, System Description, II.2.7)."""


@dataclass(frozen=True, slots=True)
class Form2:
    """What the directories of a CD say of sectors of form 2.

    Attributes:
        file: path of the first file that has some; empty if none has.
        unknown: why some files were not looked at; empty if all were.
    """

    file: str = ""
    unknown: str = ""

    @property
    def is_excluded(self) -> bool:
        """Whether it is certain that no file has such sectors."""
        return not self.file and not self.unknown


def find_form2(read: Callable[[int, int], bytes], size: int, *, raw_cd: bool = False) -> Form2:
    """Look for a file that needs sectors of form 2, in a bounded walk over the directories.

    The image may be hostile: see :mod:`zsofs.discs.file_map` for the bounds.

    Args:
        read: returns the bytes of the image at an offset, ``read(offset, size)``; an error that it
            raises for a damaged part makes the answer unknown.
        size: of the image in bytes.
        raw_cd: the image consists of raw 2352-byte sectors instead of 2048-byte ones.
    """
    walk = Walk(Image(read, size, raw_cd))
    found_any = False
    for entry in walk.entries():
        found_any = True
        if not entry.is_folder and entry.xa_attributes & _BEYOND_FORM_1:
            return Form2(entry.path)
    if not found_any:
        return Form2(unknown="it has no ISO 9660 volume")
    return Form2(unknown=walk.incomplete)
