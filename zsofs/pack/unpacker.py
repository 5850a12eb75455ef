"""Unpack one disc to a plain image."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from zsofs.errors import InputError, reason
from zsofs.images.checksums import Digester, Digests, digester
from zsofs.images.input_image import Original, original
from zsofs.images.pipeline import Chunk, Stream, cores, stream, streaming_unit
from zsofs.native.fileio import write_sparse
from zsofs.pack.atomic_file import NewFile, new_file
from zsofs.pack.outputs import Output
from zsofs.pack.packer import (
    MadeFile,
    PackOptions,
    PackResult,
    check_seal,
)
from zsofs.pack.read_back import Watcher, reading_back, sha1_of
from zsofs.system.full_write import write_all


def unpack(output: Output, options: PackOptions, watcher: Watcher) -> PackResult:
    """Write plain images to new files, with holes for zeros.

    The files are renamed to their names after all of them were synced and read back, and if the
    packed file is unchanged; the cue sheet of a CD last. If a name is taken meanwhile, those that
    have their names already are deleted again, and those that they replaced get their names back.

    Raises:
        InputError: unpacking failed; nothing was created or replaced, or the message says what.
    """
    path = output.path
    try:
        with ExitStack() as stack:
            files: list[tuple[NewFile, Original, Digests]] = []
            for one in output.files:
                path = one.path
                file = stack.enter_context(new_file(path))
                files.append((file, one.image, _fill(file, one.image, watcher)))
            names = [file for file, _, _ in files]
            if output.cue:
                path = output.cue
                names.append(stack.enter_context(new_file(path)))
                names[-1].write(output.text, 0)
                names[-1].settle(output.files[0].image.status)
            if options.verify:
                watcher.check()
                for file, image, digests in files:
                    _read_back(file, image, digests, watcher)
            output.files[0].image.check_unchanged()
            _take_names(names, replace=options.replace)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {reason(error)}") from error
    made = tuple(
        MadeFile(one.path, image.size, digests)
        for one, (_, image, digests) in zip(output.files, files, strict=True)
    )
    return PackResult(
        sum(one.size for one in made),
        made[0].digests if len(made) == 1 else Digests(),
        tuple(dict.fromkeys(remark for file in names for remark in file.remarks)),
        next((file.error for file in names if file.error), ""),
        (output.cue,) if output.cue else (),
        made,
    )


def _fill(file: NewFile, image: Original, watcher: Watcher) -> Digests:
    """Write an image to a new file and sync it; return its digests."""
    with _chunks(image) as (chunks, taker):
        for chunk in chunks:
            write_sparse(file.fd, chunk.plain, chunk.offset)
            file.is_written_to(chunk.offset + len(chunk.plain))
            watcher.advance(len(chunk.plain), 0)
        digests = taker.result()
    os.ftruncate(file.fd, image.size)
    check_seal(image, digests)
    file.settle(image.status)
    return digests


def _read_back(file: NewFile, image: Original, digests: Digests, watcher: Watcher) -> None:
    """Compare a new file with the image; raises like :func:`reading_back`."""
    with reading_back(), original(file.path, as_it_is=True) as copy:
        sha1 = sha1_of(copy, streaming_unit(copy), watcher)
        if (copy.size, sha1) != (image.size, digests.sha1):
            raise InputError(f"its SHA-1 is {sha1}, but the SHA-1 of the input is {digests.sha1}")


def _take_names(files: Sequence[NewFile], *, replace: bool) -> None:
    """Rename files to their names: all of them, or none.

    Raises:
        InputError: another file has one of the names; or renaming failed when others had been
            replaced that cannot be restored.
        OSError: renaming failed.
    """
    named = []
    try:
        for file in files:
            named.append(file)
            file.take_name(replace=replace)
    except BaseException as error:
        lost = [name for file in named if (name := file.take_back())]
        if lost and isinstance(error, OSError | InputError):
            raise InputError(
                f"{reason(error)}; before that, {', '.join(lost)} had been replaced"
            ) from error
        raise


def has_cue_sheet(output: Output) -> bool:
    """Return whether the cue sheet of an output exists with the right content."""
    if not os.path.isfile(output.cue):  # opening a named pipe would wait for a writer
        return False
    try:
        with open(output.cue, "rb") as file:
            return file.read(len(output.text) + 1) == output.text
    except OSError:
        return False


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
