"""Facts about the content of an open image, each determined once."""

from functools import cached_property

from zsofs.discs.classify import Classification, ContentKind, classify
from zsofs.discs.shortage import Shortage, find_shortage
from zsofs.formats.file_names import misnamed
from zsofs.images.input_image import Original


class Examination:
    """The content of an open image. Each property reads the image on first access.

    All of them raise like :meth:`zsofs.images.input_image.Original.read`.

    Attributes:
        image: the open image.
    """

    def __init__(self, image: Original) -> None:
        self.image = image

    @cached_property
    def content(self) -> Classification:
        """Kind of the image, by its content."""
        return classify(self.image.read, self.image.size)

    @cached_property
    def shortage(self) -> Shortage | None:
        """What is missing at the end of the image; None if nothing, or unknown."""
        image = self.image
        return find_shortage(image.read, image.size, raw_cd=image.raw_cd, names=True)

    @property
    def is_misnamed_disc(self) -> bool:
        """Whether the file is a plain disc image with the name of a container."""
        return self.image.is_misnamed and self.content.kind is ContentKind.DISC

    @property
    def cut(self) -> str:
        """What is missing from a truncated image, as a sentence; empty if it is complete."""
        return self.shortage.sentence if self.shortage is not None and self.shortage.is_cut else ""

    @property
    def _is_audio_cd(self) -> bool:
        """Whether it begins with a track of audio, which has no file system."""
        return bool(self.image.tracks) and self.image.tracks[0].type.is_audio

    @property
    def remarks(self) -> tuple[str, ...]:
        """Irregularities of the content for the user, without :attr:`cut`."""
        remarks = (
            misnamed(self.image.ending) if self.is_misnamed_disc else "",
            "" if self._is_audio_cd else self.content.remark,
            self.shortage.sentence if self.shortage is not None and not self.cut else "",
        )
        return tuple(remark for remark in remarks if remark)
