"""Inputs of `zsofs watch` that deceive it: names, reused inode numbers, sets that arrive slowly."""

import os
from pathlib import Path

from tests.support import writers
from tests.support.mounting import names, wait_until
from tests.support.packed import image_of
from tests.support.watching import watching

IMAGE = writers.disc(2048 * 300, ["text", "mixed", "noise"], 5)
NO_DISC = b"This is no disc.\n" * 500


def test_the_same_disc_arrives_again_later(tmp_path: Path) -> None:
    """Its date is newer than that of the output, which has the date of the first copy."""
    with watching(tmp_path, "--delete-source") as watch:
        for date in (1_600_000_000, 1_700_000_000):
            hidden = watch.inbox / ".Game"
            hidden.write_bytes(IMAGE)
            os.utime(hidden, (date, date))
            hidden.rename(watch.inbox / "Game.iso")
            wait_until(lambda: names(watch.inbox) == [], f"the deletion {date}")
        assert watch.results()["Game.iso"]["state"] == "packed"
    assert image_of(watch.library / "Game.zso") == IMAGE


def test_a_name_like_an_error_is_no_full_disk(tmp_path: Path) -> None:
    name = "A No space left on device.iso"
    with watching(tmp_path) as watch:
        (watch.inbox / name).write_bytes(NO_DISC)
        (watch.inbox / f"{name}.zip").write_bytes(b"PK\3\4" + NO_DISC)
        (watch.inbox / "Game.iso").write_bytes(IMAGE)
        results = watch.wait_for_results(name, f"{name}.zip", "Game.iso")
    assert results[name]["state"] == "failed"
    assert results[f"{name}.zip"]["state"] == "failed"
    assert results["Game.iso"]["state"] == "packed"


def test_the_longest_names(tmp_path: Path) -> None:
    long = "\xe9" * 125 + "\n.iso"
    with watching(tmp_path, "--delete-source") as watch:
        (watch.inbox / long).write_bytes(IMAGE)
        bad = "b" * 251 + ".iso"
        (watch.inbox / bad).write_bytes(NO_DISC)
        results = watch.wait_for_results(long, bad)
    assert results[long]["state"] == "packed", results[long]
    assert results[bad]["state"] == "failed"
    assert names(watch.library) == [long.replace(".iso", ".zso")]
    assert names(watch.inbox) == [bad]
