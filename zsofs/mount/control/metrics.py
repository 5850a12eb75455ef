"""`zsofs metrics`: the counters of mounts in the text format of Prometheus, version 0.0.4.

Names, units and labels follow prometheus.io/docs/practices/naming; the format is that of
prometheus.io/docs/instrumenting/exposition_formats. No label has a program or a process: each of
them would be a time series that never ends.
"""

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from zsofs.console.stdio import say
from zsofs.errors import ControlError, InputError, reason
from zsofs.mount.control.activity import LATENCY_BOUNDS, Activity, DiscActivity, Latency
from zsofs.mount.control.activity_client import ask_activity, ask_discs
from zsofs.mount.control.client import check_mount, running
from zsofs.system.full_write import new_file
from zsofs.system.mountinfo import Mounted
from zsofs.system.mountpoint import real_path

_GAUGE, _COUNTER, _HISTOGRAM = "gauge", "counter", "histogram"

_FAMILIES = {
    "zsofs_up": (_GAUGE, "Whether the daemon of the mount answers."),
    "zsofs_mount_info": (_GAUGE, "Source directory and version of the mount; the value is 1."),
    "zsofs_start_time_seconds": (_GAUGE, "When the daemon started, in seconds since 1970."),
    "zsofs_source_available": (_GAUGE, "Whether the source directory is available."),
    "zsofs_discs": (_GAUGE, "Discs that the mount shows."),
    "zsofs_reads_total": (_COUNTER, "Finished reads."),
    "zsofs_read_bytes_total": (_COUNTER, "Bytes that reads returned."),
    "zsofs_read_errors_total": (_COUNTER, "Failed reads."),
    "zsofs_read_duration_seconds": (_HISTOGRAM, "Duration of reads by cause."),
    "zsofs_slow_reads_total": (_COUNTER, "Reads slower than --slow-ms by cause."),
    "zsofs_decoded_blocks_total": (_COUNTER, "Decoded blocks."),
    "zsofs_cache_lookups_total": (_COUNTER, "Lookups in the cache of decoded blocks."),
    "zsofs_cache_hits_total": (_COUNTER, "Lookups that found their block in the cache."),
    "zsofs_cache_bytes": (_GAUGE, "Bytes of decoded blocks in the cache."),
    "zsofs_cache_limit_bytes": (_GAUGE, "Maximum bytes of decoded blocks in the cache."),
    "zsofs_preload_bytes_total": (_COUNTER, "Bytes of the source read ahead by boot traces."),
    "zsofs_preload_used_bytes_total": (_COUNTER, "Bytes of these that were read afterwards."),
    "zsofs_preload_wasted_bytes_total": (_COUNTER, "Bytes of these that were never read."),
    "zsofs_waiting_reads": (_GAUGE, "Reads that are not answered yet."),
    "zsofs_disk_waiting_reads": (_GAUGE, "Reads that wait for a disk of the source."),
    "zsofs_disk_longest_wait_seconds": (_GAUGE, "Waiting time of the oldest of these reads."),
    "zsofs_disc_reads_total": (_COUNTER, "Finished reads of a disc."),
    "zsofs_disc_read_bytes_total": (_COUNTER, "Bytes that reads of a disc returned."),
    "zsofs_disc_read_errors_total": (_COUNTER, "Failed reads of a disc."),
    "zsofs_disc_slow_reads_total": (_COUNTER, "Slow reads of a disc."),
}
"""All metrics, with type and help."""


@dataclass(slots=True)
class _Page:
    """Samples by metric."""

    samples: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in _FAMILIES})

    def add(self, name: str, value: float, suffix: str = "", **labels: str) -> None:
        """Add a sample of the metric *name*."""
        shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        self.samples[name].append(f"{name}{suffix}{{{shown}}} {_number(value)}")

    def text(self) -> str:
        """Return the page; metrics without samples are left out."""
        lines: list[str] = []
        for name, (kind, words) in _FAMILIES.items():
            if self.samples[name]:
                lines += [f"# HELP {name} {words}", f"# TYPE {name} {kind}", *self.samples[name]]
        return "".join(f"{line}\n" for line in lines)


def run(mount_points: Sequence[str], textfile: str | None, *, per_disc: bool) -> int:
    """Print the metrics of mounts, or write them to a file.

    Args:
        mount_points: their paths; none for all mounts that this user may ask.
        textfile: path of the file; None: standard output.
        per_disc: whether to add series for each disc that was read.

    Returns:
        The exit code, 0: a mount that does not answer is a metric.

    Raises:
        ControlError: there is no mount at one of the paths that this user may ask.
        InputError: the file cannot be written.
    """
    mounts = [check_mount(real_path(path), views=True) for path in mount_points] or running(
        views=True
    )
    text = page(mounts, per_disc=per_disc)
    if textfile is None:
        say(text, end="")
    else:
        _replace(Path(textfile), text)
    return 0


def page(mounts: Sequence[Mounted], *, per_disc: bool) -> str:
    """Return the metrics of mounts.

    Args:
        mounts: the mounts.
        per_disc: whether to add series for each disc that was read.
    """
    found = _Page()
    for mounted, reply in ask_activity(mounts):
        point = os.fsdecode(mounted.path)
        answers = not isinstance(reply, ControlError)
        if answers and per_disc:
            try:
                _add_discs(found, point, ask_discs(mounted, 0)[0])
            except ControlError:
                answers = False  # it has ended meanwhile
        found.add("zsofs_up", answers, mountpoint=point)
        if isinstance(reply, Activity) and answers:
            _add_mount(found, point, reply)
    return found.text()


def open_metrics(text: str) -> str:
    """Return a page in the format of OpenMetrics 1.0, which names counters without ``_total``."""
    lines = []
    for line in text.splitlines():
        words = line.split(" ", 3)
        if line.startswith("# ") and _FAMILIES[words[2]][0] == _COUNTER:
            words[2] = words[2].removesuffix("_total")
        lines.append(" ".join(words))
    return "".join(f"{line}\n" for line in (*lines, "# EOF"))


def _add_mount(found: _Page, point: str, reply: Activity) -> None:
    mount, reads = reply.mount, reply.reads
    info = {"source": mount.source, "version": mount.version}
    found.add("zsofs_mount_info", 1, mountpoint=point, **info)
    found.add("zsofs_start_time_seconds", mount.started, mountpoint=point)
    found.add("zsofs_source_available", mount.source_state == "there", mountpoint=point)
    found.add("zsofs_discs", mount.compressed_discs, mountpoint=point, kind="compressed")
    found.add("zsofs_discs", mount.plain_discs, mountpoint=point, kind="plain")
    for name, value in (
        ("zsofs_reads_total", reads.counts.requests),
        ("zsofs_read_bytes_total", reads.counts.bytes),
        ("zsofs_read_errors_total", reads.counts.errors),
        ("zsofs_decoded_blocks_total", reads.counts.blocks),
        ("zsofs_cache_lookups_total", reads.counts.lookups),
        ("zsofs_cache_hits_total", reads.counts.hits),
        ("zsofs_cache_bytes", reads.cache.bytes),
        ("zsofs_cache_limit_bytes", reads.cache.limit),
        ("zsofs_preload_bytes_total", reads.preload.fetched_bytes),
        ("zsofs_preload_used_bytes_total", reads.preload.used_bytes),
        ("zsofs_preload_wasted_bytes_total", reads.preload.wasted_bytes),
        ("zsofs_waiting_reads", reply.waiting_total),
    ):
        found.add(name, value, mountpoint=point)
    for latency in reads.latency:
        _add_latency(found, point, latency)
    for disk in reply.disks:
        labels = {"mountpoint": point, "device": disk.device}
        found.add("zsofs_disk_waiting_reads", disk.waiting, **labels)
        found.add("zsofs_disk_longest_wait_seconds", disk.longest_wait_seconds, **labels)


def _add_latency(found: _Page, point: str, latency: Latency) -> None:
    labels = {"mountpoint": point, "cause": latency.cause}
    found.add("zsofs_slow_reads_total", latency.slow, **labels)
    bounds = (*map(_number, LATENCY_BOUNDS), "+Inf")
    for bound, count in zip(bounds, accumulate(latency.buckets), strict=False):
        found.add("zsofs_read_duration_seconds", count, "_bucket", **labels, le=bound)
    found.add("zsofs_read_duration_seconds", latency.seconds, "_sum", **labels)
    found.add("zsofs_read_duration_seconds", latency.reads, "_count", **labels)


def _add_discs(found: _Page, point: str, discs: Sequence[DiscActivity]) -> None:
    for one in discs:
        labels = {"mountpoint": point, "disc": one.disc}
        found.add("zsofs_disc_reads_total", one.counts.requests, **labels)
        found.add("zsofs_disc_read_bytes_total", one.counts.bytes, **labels)
        found.add("zsofs_disc_read_errors_total", one.counts.errors, **labels)
        found.add("zsofs_disc_slow_reads_total", one.counts.slow, **labels)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _escaped(text: str) -> str:
    """Return a label value: the format is UTF-8, a path may be any bytes."""
    known = text.encode(errors="backslashreplace").decode()
    return known.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _replace(path: Path, text: str) -> None:
    """Replace a file atomically; other users may read it."""
    try:
        if path.exists() and not path.is_file():  # such as /dev/null, which root could replace
            raise InputError(f"{path} is not a regular file; give another name with --textfile")
        path = path.resolve()  # a symlink stays
        unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
        with new_file(unfinished, text, 0o644) as fd:
            os.fchmod(fd, 0o644)  # node_exporter runs as another user
            unfinished.rename(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {reason(error)}") from None
