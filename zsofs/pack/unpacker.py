"""Unpack one disc to a plain image."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from zsofs.errors import InputError, reason
from zsofs.formats.cd_tracks import cue_sheet
from zsofs.images.checksums import Digester, digester
from zsofs.images.input_image import Original, original
from zsofs.images.pipeline import Chunk, Stream, cores, stream, streaming_unit
from zsofs.native.fileio import write_sparse
from zsofs.pack.atomic_file import new_file
from zsofs.pack.packer import PackOptions, PackResult, Watcher, check_seal, reading_back, sha1_of
from zsofs.system.full_write import write_all


def unpack(image: Original, target: str, options: PackOptions, watcher: Watcher) -> PackResult:
    """Write the plain image to the new file *target*, with holes for zeros.

    The file is renamed to *target* after it was synced and read back, and if the packed file is
    unchanged. A CD with several tracks also gets a cue sheet beside it, after that.

    Raises:
        InputError: unpacking failed; *target* was not created.
    """
    if image.view is None:
        return _unpack_image(image, target, options, watcher)
    stem, ending = os.path.splitext(target)
    cue = f"{stem}.cue"
    if ending.lower() == ".cue":
        raise InputError(f"{target} is the name of a cue sheet; give that of the .bin with -o")
    if os.path.lexists(cue):
        if not stat.S_ISREG(os.lstat(cue).st_mode):
            raise InputError(
                f"{cue} already exists and is not a regular file; give another name with -o"
            )
        if not options.replace:
            raise InputError(f"{cue} exists; --force replaces it")
    with new_file(cue) as sheet:
        try:
            sheet.write(cue_sheet(image.tracks, os.fsencode(os.path.basename(target))), 0)
            sheet.settle(image.status)
            result = _unpack_image(image, target, options, watcher)
            sheet.take_name(replace=options.replace)
        except OSError as error:
            raise InputError(f"{cue} cannot be written: {reason(error)}") from error
    return result


def _unpack_image(
    image: Original, target: str, options: PackOptions, watcher: Watcher
) -> PackResult:
    with new_file(target) as file:
        try:
            with _chunks(image) as (chunks, taker):
                for chunk in chunks:
                    write_sparse(file.fd, chunk.plain, chunk.offset)
                    file.is_written_to(chunk.offset + len(chunk.plain))
                    watcher.advance(len(chunk.plain), 0)
                digests = taker.result()
            os.ftruncate(file.fd, image.size)
            check_seal(image, digests)
            file.settle(image.status)
            if options.verify:
                watcher.check()
                with reading_back(), original(file.path, as_it_is=True) as copy:
                    sha1 = sha1_of(copy, streaming_unit(copy), watcher)
                    if (copy.size, sha1) != (image.size, digests.sha1):
                        raise InputError(
                            f"its SHA-1 is {sha1}, but the SHA-1 of the input is {digests.sha1}"
                        )
            image.check_unchanged()
            file.take_name(replace=options.replace)
        except OSError as error:
            raise InputError(f"{target} cannot be written: {reason(error)}") from error
    return PackResult(image.size, digests, file.remarks, file.error)


def pour(image: Original, fd: int, watcher: Watcher) -> PackResult:
    """Write the plain image to *fd*, which may be a pipe.

    Raises:
        BrokenPipeError: the reader has closed the pipe.
        InputError: unpacking failed; part of the image has been written.
    """
    with _chunks(image) as (chunks, taker):
        for chunk in chunks:
            write_all(fd, chunk.plain)
            watcher.advance(len(chunk.plain), 0)
        digests = taker.result()
    check_seal(image, digests)
    image.check_unchanged()
    return PackResult(image.size, digests)


@contextmanager
def _chunks(image: Original) -> Iterator[tuple[Stream[Chunk], Digester]]:
    with (
        digester(every=False) as taker,
        stream(image, Chunk, streaming_unit(image), workers=cores(), digester=taker) as chunks,
    ):
        yield chunks, taker
