"""Comparison of an image with what an earlier run found under the same path."""

import os
import time
from dataclasses import dataclass, replace

from zsofs.images.input_image import Original
from zsofs.images.source_file import Key
from zsofs.inspection.verdict import VerifiedImage
from zsofs.inspection.verify_cache import Kept
from zsofs.inspection.verify_report import CHANGED, UNVERIFIED, Result
from zsofs.system.volume_id import disk_of


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """Identifies a file and its content.

    Attributes:
        path: real path.
        key: size and times.
        disk: identifier of its disk; None if unknown.
    """

    path: str
    key: Key
    disk: str | None

    @classmethod
    def of(cls, image: Original) -> "OpenedFile":
        """Create it for an open image."""
        return cls(os.path.realpath(image.path), image.source.key, disk_of(image.source.fd))


def compared(result: Result, whole: VerifiedImage, kept: Kept | None, file: OpenedFile) -> Result:
    """Compare a whole image with the result of an earlier run under the same path.

    In containers without checksums, most changes of a byte still decode without error. A file
    that was replaced on purpose has another date, and only gets a remark.
    """
    vouched = result.verdict.state not in ("whole", *UNVERIFIED)
    if kept is None or vouched or kept.whole.digests.sha1 == result.digests.sha1:
        return result
    if kept.whole.raw_cd != whole.raw_cd:  # an earlier version read the .iso of this CD
        return result
    day = time.strftime("%Y-%m-%d", time.localtime(kept.checked_at))
    old = kept.whole.digests.sha1
    if file.disk is not None and kept.seems_of(file.key, file.disk):
        reason = (
            f"its image had SHA-1 {old} on {day} and has a different one now, although the size"
            " and date of the file are the same: the disk may be failing; restore a backup,"
            " or, if you replaced the file yourself, run touch on it"
        )
        return replace(result, verdict=replace(result.verdict, state=CHANGED, reason=reason))
    remark = f"the file was replaced since {day}; its image had SHA-1 {old} then"
    return replace(result, remarks=(*result.remarks, remark))
