"""`zsofs metrics` of real mounts: the numbers are those of what was read."""

import json
import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

from tests.conftest import MountMaker
from tests.mount.control.test_activity import BLOCK, IMAGE, read_by_another
from tests.mount.control.test_activity import source as source
from tests.mount.control.test_status import runtime as runtime
from tests.support.documents import DOCS
from tests.support.mounting import mounted
from tests.unit.cli.test_messages import refused, run
from zsofs.mount.control.metrics import _FAMILIES

SAMPLE = re.compile(r'([a-z_]+)\{((?:[a-z]+="(?:[^"\\\n]|\\[\\"n])*",?)*)\} (\S+)')
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def metrics(*arguments: str | Path) -> str:
    done = run("metrics", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def parsed(text: str) -> Samples:
    """The samples by name and labels; the types come first, and nothing comes twice."""
    found: Samples = {}
    kinds: dict[str, str] = {}
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kinds[name] = line.split()
        elif not line.startswith("# HELP "):
            sample = SAMPLE.fullmatch(line)
            assert sample is not None, line
            name = re.sub("_(bucket|sum|count)$", "", sample[1])
            assert sample[1] in kinds or kinds[name] == "histogram"
            labels = frozenset(re.findall(r'([a-z]+)="((?:[^"\\]|\\.)*)"', sample[2]))
            assert (sample[1], labels) not in found
            found[sample[1], labels] = float(sample[3])
    return found


def only(samples: Samples, name: str, **labels: str) -> list[float]:
    wanted = set(labels.items())
    return [value for (one, has), value in samples.items() if one == name and wanted <= has]


def test_the_numbers_of_a_scripted_load(mount: MountMaker, source: Path) -> None:
    made = mount(source)
    places = [number * 4096 for number in range(0, 256, 8)]
    read_by_another(made.path / "Game.iso", *places, *places[:3])
    read_by_another(made.path / "Plain.iso", *places[:7])
    found = parsed(metrics("--per-disc", made.path))
    extents = {place // BLOCK for place in places}
    for name, value in (
        ("up", 1),
        ("reads_total", 42),
        ("read_bytes_total", 42 * 4096),
        ("read_errors_total", 0),
        ("decoded_blocks_total", len(extents)),
        ("cache_lookups_total", 35),
        ("cache_hits_total", 35 - len(extents)),
        ("cache_bytes", len(extents) * BLOCK),
        ("cache_limit_bytes", 64 << 20),
        ("waiting_reads", 0),
        ("source_available", 1),
    ):
        assert only(found, f"zsofs_{name}", mountpoint=str(made.path)) == [value], name
    assert only(found, "zsofs_disc_reads_total", disc="Game.zso") == [35]
    assert only(found, "zsofs_disc_read_bytes_total", disc="Plain.iso") == [7 * 4096]
    assert only(found, "zsofs_discs", kind="compressed") == [1]
    assert sum(only(found, "zsofs_read_duration_seconds_count")) == 42
    for cause in ("memory", "decode", "disk", "queue", "hang"):
        buckets = only(found, "zsofs_read_duration_seconds_bucket", cause=cause)
        assert len(buckets) == 20
        assert buckets == sorted(buckets), "they are cumulative"
        (count,) = only(found, "zsofs_read_duration_seconds_count", cause=cause)
        assert only(found, "zsofs_read_duration_seconds_bucket", cause=cause, le="+Inf") == [count]
    assert not only(parsed(metrics(made.path)), "zsofs_disc_reads_total")


def test_names_of_discs_cannot_break_the_format(mount: MountMaker, source: Path) -> None:
    (source / 'a"} 1\n# \\ \udcff.iso').write_bytes(IMAGE[:4096])
    made = mount(source)
    for path in made.path.iterdir():
        path.read_bytes()
    found = parsed(metrics("--per-disc", made.path))
    assert len(only(found, "zsofs_disc_reads_total")) == 3


def test_a_text_file_is_replaced_as_a_whole(mount: MountMaker, source: Path) -> None:
    made = mount(source)
    folder = source.parent / "collector"
    folder.mkdir()
    path = folder / "zsofs.prom"
    path.write_text("before\n")
    with path.open() as before:
        assert metrics("--textfile", path, made.path) == ""
        assert before.read() == "before\n"
    assert only(parsed(path.read_text()), "zsofs_up", mountpoint=str(made.path)) == [1]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(folder) == ["zsofs.prom"]
    assert "cannot be written: No such file or directory" in refused(
        8, "metrics", "--textfile", folder / "none" / "zsofs.prom"
    )
    path.unlink()
    path.mkdir()
    for other in (path, "/dev/null", "/", ""):  # root could replace a device
        why = refused(8, "metrics", "--textfile", other)
        assert "is not a regular file; give another name with --textfile" in why
    assert os.listdir(folder) == ["zsofs.prom"]


def test_a_symlink_to_a_text_file_stays(mount: MountMaker, source: Path, tmp_path: Path) -> None:
    made = mount(source)
    (tmp_path / "link.prom").symlink_to("real.prom")
    metrics("--textfile", tmp_path / "link.prom", made.path)
    assert (tmp_path / "link.prom").readlink() == Path("real.prom")
    assert "zsofs_up" in (tmp_path / "real.prom").read_text()


def test_a_daemon_that_was_killed_is_down(tmp_path: Path, source: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    with mounted(source, one) as made, mounted(source, two):
        made.may_end = True
        made.daemon.kill()
        made.daemon.wait(60)
        found = parsed(metrics())  # others may be mounted as well
        for path, up in ((one, 0), (two, 1)):
            assert only(found, "zsofs_up", mountpoint=str(path)) == [up]
            assert len(only(found, "zsofs_reads_total", mountpoint=str(path))) == up
        made.daemon.returncode = 0


def test_what_is_not_mounted(tmp_path: Path) -> None:
    assert "nothing is mounted at" in refused(7, "metrics", tmp_path)


@pytest.mark.system
def test_promtool_has_nothing_to_say(mount: MountMaker, source: Path) -> None:
    made = mount(source, "--slow-ms", "1")
    for path in made.path.iterdir():
        path.read_bytes()
    text = metrics("--per-disc", made.path)
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_dashboard_shows_metrics_that_exist() -> None:
    """Each expression has known names; the sums of a histogram have endings of their own."""
    text = (DOCS / "grafana.json").read_text()
    known = set(_FAMILIES) | {
        f"{name}{end}"
        for name, (kind, _) in _FAMILIES.items()
        for end in ("_bucket", "_sum", "_count")
        if kind == "histogram"
    }
    panels = json.loads(text)["panels"]
    shown = {
        name
        for panel in panels
        for target in panel.get("targets", ())
        for name in re.findall(r"zsofs_\w+", target["expr"])
    }
    assert shown <= known
    assert len(shown) > 8
    assert len({panel["id"] for panel in panels}) == len(panels)
