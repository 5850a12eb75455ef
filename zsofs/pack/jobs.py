"""Convert a command line to tasks: which files are packed or unpacked, and where outputs go."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from zsofs.discs.cd_forms import CdForm
from zsofs.discs.cue_files import is_cue_name
from zsofs.errors import UsageError, reason
from zsofs.formats.archive_names import is_archive
from zsofs.formats.containers import has_magic
from zsofs.formats.file_names import has_disc_ending, is_packed_name, name_before_deletion
from zsofs.images.checksums import Digests
from zsofs.pack.packer import PackOptions
from zsofs.pack.presets import Packing
from zsofs.source.left_out import Ignored, begin_of
from zsofs.system.deletion import restore
from zsofs.system.same_file import same_file

STANDARD_OUTPUT = "-"


@dataclass(frozen=True, slots=True)
class PackRequest:
    """A parsed command line.

    Attributes:
        inputs: files and directories.
        output: output file or directory; None: the directory of each input.
        recursive: include subdirectories.
        packing: how to pack; None to unpack.
        options: safety options; ``replace`` is ``--force``.
        delete_source: delete each input after its output is verified.
        unrecognized: also pack files that are not recognized as disc images.
        measure: only report the size of packed files.
        allowed: real paths of directories into which symlinks are followed.
        form: of CDs; None: as a mount shows them, and raw images as they are.
        dispose: what is done with an input instead of deleting it. It is called with the function
            that deletes it and the digests of its image, and raises if the input is kept. Only a
            watch has it.
        final_name: as *name* of :func:`zsofs.pack.packer.pack`.
    """

    inputs: Sequence[str]
    output: str | None
    recursive: bool
    packing: Packing | None
    options: PackOptions
    delete_source: bool = False
    unrecognized: bool = False
    measure: bool = False
    allowed: tuple[bytes, ...] = ()
    form: CdForm | None = None
    dispose: Callable[[Callable[[], None], Digests], None] | None = None
    final_name: Callable[[str, Digests], str] | None = None

    @property
    def is_of_watch(self) -> bool:
        """Whether a watch requests it: nothing is replaced, and its user has no such options."""
        return self.dispose is not None

    def advice(self, *, unknown: bool) -> str:
        """Return what can be done with an input that is no disc image; *unknown*: by its bytes."""
        if not unknown:
            return ""
        if self.is_of_watch:
            return "; if it is one, pack it with: zsofs pack --any"
        return "; if it is one, use --any"

    def removal(self, remove: Callable[[], None], digests: Digests) -> Callable[[], None]:
        """Return what is done with an input whose output is complete; *remove* deletes it."""
        return remove if self.dispose is None else partial(self.dispose, remove, digests)


@dataclass(frozen=True, slots=True)
class PackTask:
    """One input.

    Attributes:
        path: path of the file.
        base: path of the output without the extension.
        found: it was found in a directory rather than named on the command line.
        exact: *base* is the complete path.
    """

    path: str
    base: str
    found: bool = False
    exact: bool = False


@dataclass(slots=True)
class Inputs:
    """The files that a command line names.

    Attributes:
        jobs: one task per file.
        ignored: files in directories that are left out.
        unread: unreadable directories, with the reason.
        left_out: number of subdirectories that were not searched.
        restored: messages about files that an interrupted run was deleting.
    """

    ignored: Ignored
    jobs: list[PackTask] = field(default_factory=list)
    unread: list[tuple[str, str]] = field(default_factory=list)
    left_out: int = 0
    restored: list[str] = field(default_factory=list)

    def restore(self, folder: str, names: Iterable[str]) -> Iterator[str]:
        """Restore files that an interrupted run was deleting; yield their names."""
        before = {name_before_deletion(os.fsencode(name)) for name in names} - {None}
        if before:
            self.restored += restore(folder)
        yield from (os.fsdecode(name) for name in before if name is not None)


def find_inputs(request: PackRequest) -> Inputs:
    """Return one task for each file named, or found in a named directory.

    Args:
        request: the parsed command line.

    Raises:
        UsageError: the command line is invalid.
    """
    ignored = Ignored(_is_taken if request.packing else _is_packed, request.inputs, request.allowed)
    several = len(request.inputs) > 1 or any(os.path.isdir(path) for path in request.inputs)
    output = request.output
    if output == STANDARD_OUTPUT:
        if several or request.packing:
            raise UsageError("-o - is only for `zsofs unpack` of a single file")
        return Inputs(ignored, [PackTask(request.inputs[0], STANDARD_OUTPUT, exact=True)])
    into_folder = output is not None and (several or os.path.isdir(output) or output.endswith("/"))
    if into_folder and os.path.lexists(output or "") and not os.path.isdir(output or ""):
        raise UsageError(f"-o {output} is not a directory; several inputs need an output directory")
    is_exact = output is not None and not into_folder
    if is_exact and not (os.path.splitext(output or "")[1] or os.path.lexists(output or "")):
        raise UsageError(
            f"-o {output} does not exist and may be a file or a directory; give {output}/ for a"
            " directory, or a file name with its extension"
        )
    inputs = Inputs(ignored)
    jobs = inputs.jobs
    for path in request.inputs:
        if os.path.isdir(path):
            for found in _files_in(path, request, inputs):
                own = os.path.relpath(found, path)
                base = _base(found if output is None else os.path.join(output, own))
                jobs.append(PackTask(found, base, found=True))
        elif output is None:
            jobs.append(PackTask(path, _base(path)))
        elif into_folder:
            jobs.append(PackTask(path, _base(os.path.join(output, os.path.basename(path)))))
        else:
            jobs.append(PackTask(path, output, exact=True))
    return inputs


def _is_taken(path: bytes) -> bool:
    """Return whether `zsofs pack` takes this file from a directory."""
    return has_disc_ending(path) or is_archive(os.path.basename(path))


def _is_packed(path: bytes) -> bool:
    """Return whether `zsofs unpack` takes this file from a directory.

    A container can also have the name of a plain image.
    """
    return is_packed_name(path) or (has_disc_ending(path) and has_magic(begin_of(path)))


def _base(path: str) -> str:
    """Return a path without the extension of a disc or cue sheet."""
    is_known = has_disc_ending(os.fsencode(path)) or is_cue_name(path)
    return os.path.splitext(path)[0] if is_known else path


def _files_in(folder: str, request: PackRequest, inputs: Inputs) -> Iterator[str]:
    """Yield the files of a directory that are inputs."""

    def cannot(error: OSError) -> None:
        inputs.unread.append(
            (str(error.filename), f"the directory cannot be read: {reason(error)}")
        )

    for path, folders, names in inputs.ignored.walk(folder, cannot):
        # The output directory of an earlier run is not an input.
        output = request.output or ""
        folders[:] = [name for name in folders if not same_file(os.path.join(path, name), output)]
        if not request.recursive:
            inputs.left_out += len(folders)
            folders.clear()
        for name in sorted({*names, *(() if request.measure else inputs.restore(path, names))}):
            if inputs.ignored.takes(path, name, links=False):
                yield os.path.join(path, name)
