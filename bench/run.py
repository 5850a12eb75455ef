"""The rounds: everything is mounted, then each workload goes through all contenders in turn."""

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from bench.discs import Discs, check_space
from bench.hung import clear_hung_leftovers
from bench.machine import busy, describe
from bench.measure import Occasion, Workload
from bench.payload import MB, numbers
from bench.results import Results
from bench.servers import Contender, Served, clear_leftovers
from bench.slow_disk import clear_slow_disks
from bench.system import (
    BenchError,
    Unavailable,
    drop_pages,
    keep_pages,
    read_ahead_kb,
    set_read_ahead_kb,
)
from bench.workloads import WORKLOADS

_CHECKED_SPANS = 32
_SPAN = 128 << 10


@dataclass(frozen=True)
class Settings:
    """What to run.

    Attributes:
        work: folder for discs and mounts.
        size: of the disc, in MB.
        rounds: how often everything is measured.
        quick: do less of everything.
        only: parts of ``workload/contender`` names, with wildcards; empty for all.
    """

    work: Path
    size: int
    rounds: int
    quick: bool
    only: tuple[str, ...] = ()


def run(settings: Settings) -> Results:
    """Measure everything that *settings* ask for.

    Raises:
        BenchError: zsofs failed, or nothing can be measured here.
    """
    settings.work.mkdir(parents=True, exist_ok=True)
    with _alone(settings.work):
        clear_leftovers(settings.work)
        clear_hung_leftovers()
        clear_slow_disks(settings.work)
        check_space(settings.work, settings.size)
        return _Benchmark(settings).run()


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BenchError(f"another benchmark is using {work}") from None
        yield


class _Benchmark:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._discs = Discs(settings.work, settings.size)
        self._results = Results(
            {"size_mb": settings.size, "rounds": settings.rounds, "quick": settings.quick},
            describe(),
        )

    def run(self) -> Results:
        chosen = [
            workload
            for workload in WORKLOADS
            if any(self._wanted(workload, contender) for contender in workload.contenders)
        ]
        if not chosen:
            raise BenchError(f"nothing is called like {' or '.join(self._settings.only)}")
        contenders = self._prepare(chosen)
        self._results.settings["load_before"] = f"{busy():.1f}"
        begin = time.monotonic()
        for number in range(self._settings.rounds):
            occasion = Occasion(number, self._settings.size * MB, self._settings.quick)
            with ExitStack() as mounted:
                served: dict[str, Served] = {}
                for contender in contenders:
                    if contender.name not in self._results.missing:
                        self._mount(contender, mounted, served)
                for turn, workload in enumerate(chosen):
                    self._say(f"round {number + 1} of {self._settings.rounds}: {workload.title}")
                    names = _rotated(workload.contenders, number + turn)
                    for contender in names:
                        if self._wanted(workload, contender):
                            self._measure(workload, contender, occasion, served)
        self._results.settings["load_after"] = f"{busy():.1f}"
        self._results.settings["minutes"] = f"{(time.monotonic() - begin) / 60:.1f}"
        return self._results

    def _wanted(self, workload: Workload, contender: Contender) -> bool:
        name = f"{workload.name}/{contender.name}"
        patterns = self._settings.only or ("",)
        return any(fnmatchcase(name, f"*{pattern}*") for pattern in patterns)

    def _prepare(self, chosen: list[Workload]) -> list[Contender]:
        """Make all discs first, so that nothing is packed while something is measured."""
        wanted = {
            contender.name: contender
            for workload in chosen
            for contender in workload.contenders
            if self._wanted(workload, contender)
        }
        for contender in wanted.values():
            try:
                contender.make(self._discs)
            except Unavailable as reason:
                self._leave_out(contender.name, str(reason))
        shared = [workload for workload in chosen if not workload.fresh]
        names = {contender.name for workload in shared for contender in workload.contenders}
        return [contender for name, contender in wanted.items() if name in names]

    def _mount(self, contender: Contender, mounted: ExitStack, served: dict[str, Served]) -> None:
        try:
            server = mounted.enter_context(self._serve(contender))
            self._check(contender, server)
        except (Unavailable, BenchError, OSError) as problem:
            self._failed(contender, contender.name, problem)
        else:
            served[contender.name] = server

    @contextmanager
    def _serve(self, contender: Contender) -> Iterator[Served]:
        point = self._settings.work / "mounts" / contender.name
        measured = False
        try:
            with contender.serve(self._discs, point) as served:
                self._set_read_ahead(contender, served)
                yield served
                measured = True
        except BenchError as problem:
            if not measured:
                raise
            if contender.kind == "zsofs":
                raise BenchError(f"{contender.title}: {problem}") from problem
            self._note(f"{contender.title}: {problem}")

    def _set_read_ahead(self, contender: Contender, served: Served) -> None:
        if not served.discs:
            return
        wanted = contender.read_ahead_kb
        if contender.kind == "zsofs" and wanted is None:
            self._note(f"{contender.title}: {read_ahead_kb(served.discs[0])} KiB")
        if wanted is not None and not set_read_ahead_kb(served.discs[0], wanted):
            self._note(
                f"{contender.title} has another read_ahead_kb than {wanted}, which only root can"
                " change"
            )

    def _check(self, contender: Contender, served: Served) -> None:
        """Compare some of what is shown with the image itself."""
        if not served.discs:
            return
        size = self._settings.size * MB
        picks = numbers(f"check {contender.name}", _CHECKED_SPANS)
        image = os.open(self._discs.image(), os.O_RDONLY)
        disc = os.open(served.discs[0], os.O_RDONLY)
        try:
            if os.fstat(disc).st_size != size:
                raise BenchError("it shows a disc of another size")
            for pick in picks:
                offset = pick * (size - _SPAN) // 65536
                if os.pread(disc, _SPAN, offset) != os.pread(image, _SPAN, offset):
                    raise BenchError(f"it shows other bytes at {offset}")
        finally:
            os.close(disc)
            os.close(image)

    def _measure(
        self,
        workload: Workload,
        contender: Contender,
        occasion: Occasion,
        served: dict[str, Served],
    ) -> None:
        name = f"{workload.name}/{contender.name}"
        if {name, contender.name} & self._results.missing.keys():
            return
        try:
            if workload.fresh:
                with self._serve(contender) as server:
                    figures = self._run_once(workload, server, occasion)
            else:
                figures = self._run_once(workload, served[contender.name], occasion)
        except (Unavailable, BenchError, OSError) as problem:
            self._failed(contender, name, problem)
        else:
            self._results.add(workload.name, contender.name, occasion.round, figures)

    def _run_once(self, workload: Workload, served: Served, occasion: Occasion) -> dict[str, float]:
        for source in served.sources:
            keep_pages(source)
        for disc in served.discs:
            if disc.is_file():
                drop_pages(disc)
        return workload.run(served, occasion)

    def _failed(self, contender: Contender, name: str, problem: Exception) -> None:
        """Leave out what cannot be measured here; a failure of zsofs ends the benchmark."""
        if isinstance(problem, Unavailable) or contender.kind != "zsofs":
            self._leave_out(name, str(problem))
        else:
            log = self._settings.work / "mounts" / f"{contender.name}.log"
            raise BenchError(f"{name}: {problem} (what it said is in {log})") from problem

    def _leave_out(self, name: str, reason: str) -> None:
        self._results.missing[name] = self._without_paths(reason)
        self._say(f"left out: {name}: {reason}")

    def _note(self, text: str) -> None:
        self._results.note(self._without_paths(text))

    def _without_paths(self, text: str) -> str:
        return text.replace(str(self._settings.work), "DIR")

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def _rotated(contenders: tuple[Contender, ...], by: int) -> tuple[Contender, ...]:
    """So that nobody always comes after the same neighbour."""
    by %= len(contenders)
    return contenders[by:] + contenders[:by]
