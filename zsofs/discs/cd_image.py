"""The form of the CD in a CHD: one image of its user data, or the ``.bin`` of all its tracks."""

from zsofs.discs.cd_forms import CdForm, default_form
from zsofs.errors import BlockError, UnreadableError
from zsofs.images.input_image import Original


def choose_form(image: Original) -> None:
    """Have the CD in a CHD read as a ``.bin`` where an ``.iso`` would lack some of its data.

    A disc whose directories cannot be read is taken for such a one. Other images stay as they are.
    """
    if not image.tracks:
        return
    try:
        form = default_form(image.tracks, image.read, image.size)
    except (BlockError, UnreadableError):
        form = CdForm.BIN
    if form is not CdForm.ISO:
        image.show_as_bin()
