"""What is done through the mount while the discs are being arranged."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import pytest
import trio

from tests.unit.vfs.test_opl_layout import SOURCE, file, folder, packed
from zsofs.reading.admission import Admission
from zsofs.reading.worker_threads import WorkerThreads
from zsofs.source.entry import Entry
from zsofs.source.scan_result import ScanResult
from zsofs.source.tree import Place
from zsofs.vfs.opl.arrangement import Arrangement
from zsofs.vfs.opl.given_names import Given


class Titles(Mapping[str, str]):
    """No titles; whoever looks for one, as an arrangement does in its thread, waits for a call."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], None] = lambda: None

    def __getitem__(self, key: str) -> str:
        trio.from_thread.run_sync(self.meanwhile)
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class Names:
    """A store of names that keeps none."""

    def opl_names(self) -> dict[bytes, Given]:
        return {}

    def keep_opl_names(self, given: Mapping[bytes, Given], gone: Iterable[bytes]) -> None:
        pass


STATUS = os.stat(__file__)
DISC = replace(packed("DVD/Game.zso"), status=STATUS)
CARD = replace(file("DVD/card.bin"), status=STATUS)
AT = Place(b"DVD", b"card.bin")


def arranged(*entries: Entry) -> tuple[Arrangement, Callable[[Callable[[], None]], None]]:
    """An arrangement, and what arranges DVD with a disc and *entries* while something is done."""
    titles = Titles()
    arrangement = Arrangement(WorkerThreads(1, Admission()), titles, Names())
    inside = {entry.name: entry for entry in (DISC, *entries)}

    def renew(meanwhile: Callable[[], None]) -> None:
        titles.meanwhile = meanwhile
        begun = time.monotonic()
        found = {
            path: ScanResult(begun, 0.0, SOURCE, listed, has_links=False, unsure=())
            for path, listed in ((b"", {b"DVD": folder("DVD")}), (b"DVD", inside))
        }
        trio.run(arrangement.renew, found, SOURCE)

    return arrangement, renew


def shown(arrangement: Arrangement) -> set[bytes]:
    """What DVD shows beside its disc."""
    assert arrangement.layout is not None
    listed = arrangement.with_own(arrangement.layout.discs[b"DVD"], [b"DVD"])
    return {name for name in listed if not name.endswith(b".iso")}


def test_what_is_made_while_discs_are_arranged_shows() -> None:
    arrangement, renew = arranged()
    renew(lambda: arrangement.did(AT, CARD))
    assert shown(arrangement) == {b"card.bin"}


def test_what_is_deleted_while_discs_are_arranged_is_gone() -> None:
    arrangement, renew = arranged(CARD)
    renew(lambda: arrangement.did(AT, None))
    assert shown(arrangement) == set()


def test_the_last_of_several_changes_counts() -> None:
    arrangement, renew = arranged()

    def make_and_delete() -> None:
        arrangement.did(AT, CARD)
        arrangement.did(AT, None)

    renew(make_and_delete)
    assert shown(arrangement) == set()


def test_what_was_done_before_is_in_what_was_found() -> None:
    """Else it would hide what others do there later."""
    arrangement, renew = arranged()
    arrangement.did(AT, CARD)
    renew(lambda: None)
    assert shown(arrangement) == set()


def test_what_was_done_outlives_an_arrangement_that_fails() -> None:
    arrangement, renew = arranged()
    renew(lambda: None)

    def fail() -> None:
        arrangement.did(AT, CARD)
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        renew(fail)
    assert shown(arrangement) == {b"card.bin"}


def test_what_is_done_elsewhere_does_not_show() -> None:
    arrangement, renew = arranged()
    renew(lambda: arrangement.did(Place(b"CD", b"card.bin"), CARD))
    assert shown(arrangement) == set()
