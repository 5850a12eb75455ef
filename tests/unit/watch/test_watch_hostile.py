"""Inputs of `zsofs watch` that deceive it: names, reused inode numbers, sets that arrive slowly."""

from pathlib import Path

from tests.support import writers
from tests.support.mounting import names, wait_until
from tests.support.watching import watching
from tests.unit.discs.test_identify import raw

IMAGE = writers.disc(2048 * 300, ["text", "mixed", "noise"], 5)


def test_a_set_is_moved_together(tmp_path: Path) -> None:
    """Its files keep their names, by which a cue sheet finds them, also if one is taken."""
    failed = tmp_path / "failed"
    (failed / "below").mkdir(parents=True)
    (failed / "below/Game 2.bin").write_bytes(b"another")
    tracks = {f"Game {number}.bin": raw(IMAGE, number) for number in (1, 2)}
    with watching(tmp_path, "--move-failed", str(failed)) as watch:
        there = tmp_path / "below"
        there.mkdir()
        for name, image in tracks.items():
            (there / name).write_bytes(image)
        (there / "Game.cue").write_text(
            'FILE "Game 1.bin" BINARY\n  TRACK 01 MODE1/2352\n    INDEX 01 00:00:00\n'
            'FILE "Game 2.bin" BINARY\n  TRACK 02 AUDIO\n    INDEX 01 00:00:00\n'
        )
        there.rename(watch.inbox / "below")
        watch.wait_for_results("Game.cue")
        wait_until(lambda: names(watch.inbox / "below") == [], "the move")
    (moved,) = failed.rglob("Game.cue")
    assert moved.parent == failed / "below/Game (2)"
    assert {name: (moved.parent / name).read_bytes() for name in tracks} == tracks
    assert (failed / "below/Game 2.bin").read_bytes() == b"another"
