"""Damaged and hostile archives: one sentence each, no wrong disc, nothing outside."""

import random
from pathlib import Path

import pytest

from tests.support import writers
from tests.support.archives import RARS, STREAMS, archive, compressed
from tests.support.mounting import names
from tests.support.packed import image_of, left_in, reports
from tests.support.rounds import rounds

IMAGE = writers.disc(2048 * 40, ["text", "mixed", "noise"], 5)
WAYS = ["7z", "stored.7z", "zip", "stored.zip", "tar", "tar.gz", *RARS, *STREAMS]
MUTANTS = rounds(6, 48)


def original_of(folder: Path, way: str) -> bytes:
    """An archive as it should be."""
    files = {"readme.txt": b"Have fun.\n" * 9, "disc.iso": IMAGE}
    if way in STREAMS:
        return compressed(folder, "disc.iso", way, IMAGE).read_bytes()
    return archive(folder / f"x.{way}", way, files).read_bytes()


def mutant(data: bytes, rng: random.Random) -> bytes:
    """Another archive: bits flipped, fields overwritten, parts missing, moved or repeated."""
    out = bytearray(data)
    edge = min(len(out), 400)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.choice((rng.randrange(edge), len(out) - 1 - rng.randrange(edge)))
        at = rng.choice((at, at, rng.randrange(len(out))))
        way = rng.randrange(6)
        if way == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif way == 1:
            out[at : at + 4] = rng.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"))
        elif way == 2:
            out[at] = rng.randrange(256)
        elif way == 3:
            del out[at : at + rng.randrange(1, 2000)]
        elif way == 4:
            out[at:at] = out[at : at + rng.randrange(1, 2000)]
        else:
            del out[max(at, 16) :]
        out = out or bytearray(b"x")
        edge = min(len(out), 400)
    return bytes(out)


@pytest.mark.parametrize("way", WAYS)
def test_mutants(tmp_path: Path, way: str) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "in").mkdir()
    good = original_of(tmp_path / "made", way)
    rng = random.Random(way)
    ending = "rar" if way in RARS else way.rpartition("stored.")[2]
    inputs = []
    for number in range(MUTANTS):
        data = mutant(good, rng)
        inputs.append(tmp_path / "in" / f"Okami {number}.{ending}")
        inputs[-1].write_bytes(data)
    before = {path: path.read_bytes() for path in inputs}
    # One that is whole is the last: those before it have not harmed the run.
    inputs.append(tmp_path / "in" / f"Whole.{ending}")
    inputs[-1].write_bytes(good)
    found = reports("pack", "--codec", "lz4", *inputs, "-o", f"{tmp_path}/out/", code=8)
    for report in found:
        assert report["state"] in ("packed", "failed"), report
        if report["state"] == "failed":
            assert report["error"], report
            assert "\n" not in report["error"]
            assert "ended unexpectedly" not in report["error"]
    assert found[-1]["state"] == "packed"
    assert image_of(tmp_path / "out" / "Whole.zso") == IMAGE
    outputs = {report["output"] for report in found if report["state"] == "packed"}
    assert set(map(str, (tmp_path / "out").iterdir())) == outputs
    for output in outputs:
        # Only a tar has no checksum of what is in it.
        assert way == "tar" or image_of(Path(output)) == IMAGE, output
    assert left_in(tmp_path) == []
    assert names(tmp_path) == ["in", "made", "out"]
    assert all(path.read_bytes() == data for path, data in before.items())
