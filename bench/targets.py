"""What zsofs is to reach: a table of figures, what they are set against, and how far they got."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.results import Results, Rounds, ratios


@dataclass(frozen=True)
class Target:
    """A figure that is to reach something.

    Attributes:
        workload: its name.
        figure: its name in that workload.
        of: a contender; whose figure it is.
        to: the contender whose figure it is divided by; None for the figure itself.
        target: what the median is to reach; None where it is only to be shown.
        stretch: what it would be good to reach; None if there is no such thing.
        at_most: less is better.
    """

    workload: str
    figure: str
    of: str
    to: str | None
    target: float | None = None
    stretch: float | None = None
    at_most: bool = False

    def values(self, results: Results) -> Rounds:
        """The ratio, or the figure itself, in each round; none if it was not measured."""
        ours = results.rounds(self.workload, self.of, self.figure)
        if self.to is None:
            return ours
        return ratios(ours, results.rounds(self.workload, self.to, self.figure))

    def verdict(self, median: float) -> str:
        """How far *median* got."""
        if self._reaches(median, self.stretch):
            return "stretch"
        if self._reaches(median, self.target):
            return "met"
        if self.target is not None:
            return "not met"
        return "" if self.stretch is None else "short of stretch"

    def _reaches(self, median: float, wanted: float | None) -> bool:
        if wanted is None:
            return False
        return median <= wanted if self.at_most else median >= wanted


_LZ4, _LZ4_16K, _ZSTD_32K = "zsofs-lz4-2k", "zsofs-lz4-16k", "zsofs-zstd-32k"
_OVERLAY, _EXFAT = "zsofs-lz4-2k-overlay", "zsofs-lz4-2k-exfat"
_TMPFS, _PADDED, _ZSTD_2K = "zsofs-lz4-2k-tmpfs", "zsofs-lz4-2k-padded", "zsofs-zstd-2k"
_SQUASHFUSE, _SQUASHFUSE_ZSTD, _KERNEL = "squashfuse-lz4", "squashfuse-zstd", "kernel-lz4"


def _random() -> Iterator[Target]:
    yield Target("random-4k", "iops", _LZ4, _SQUASHFUSE, 0.9, 1.0)
    # Of a latency, theirs over ours: so more is better here too.
    yield Target("random-4k", "p99_us", _SQUASHFUSE, _LZ4, 0.9, 1.0)
    for kib in (8, 32, 128):
        yield Target(f"random-{kib}k", "iops", _LZ4, _SQUASHFUSE, 1.0)
    for kib in (32, 128):
        yield Target(f"random-{kib}k", "iops", _LZ4, _KERNEL, stretch=1.0)
    for kib in (4, 8, 32, 128):
        yield Target(f"random-{kib}k", "iops", _ZSTD_32K, _SQUASHFUSE_ZSTD, 1.0, 1.2)
    for kib in (4, 32):
        yield Target(f"random-{kib}k", "iops", _LZ4_16K, _SQUASHFUSE)
    for source in (_TMPFS, _OVERLAY, _EXFAT):
        yield Target("random-32k", "iops", source, _LZ4, 0.8, 0.95)
        yield Target("random-4k", "iops", source, _LZ4, 0.85)
    for kib in (4, 32):
        yield Target(f"random-{kib}k", "iops", _LZ4, "erofs")
    yield Target("random-4k", "iops", _LZ4, "bare")


def _sequential() -> Iterator[Target]:
    cold, warm = ("sequential", "cold_mbs"), ("sequential", "warm_mbs")
    yield Target(*cold, _LZ4_16K, _KERNEL, 1.0)
    yield Target(*cold, _LZ4_16K, _SQUASHFUSE, stretch=1.0)
    yield Target(*cold, _LZ4_16K, "erofs", 1.0)
    yield Target(*cold, _LZ4, "bare", 0.7, 0.85)
    yield Target(*cold, _ZSTD_2K, "one-core-zstd-2k", 1.2, 1.4)
    yield Target(*cold, _PADDED, _LZ4, 0.95, 1.0)
    for source in (_TMPFS, _OVERLAY, _EXFAT):
        yield Target(*cold, source, _LZ4, 0.85, 0.95)
    yield Target(*cold, _LZ4, _SQUASHFUSE)
    yield Target(*cold, _ZSTD_32K, _SQUASHFUSE_ZSTD)
    yield Target(*cold, "zsofs-lz4-2k-own-read-ahead", _LZ4)
    yield Target(*cold, "zsofs-zstd-2k-own-read-ahead", _ZSTD_2K)
    yield Target(*cold, "zsofs-zstd-2k-own-read-ahead", "one-core-zstd-2k")
    yield Target(*cold, "zsofs-deflate-2k", "one-core-deflate-2k")
    yield Target(*cold, _ZSTD_32K, "ratarmount-zst")
    yield Target(*cold, "zsofs-deflate-2k", "ratarmount-gz")
    for ours in (_LZ4, _ZSTD_32K):
        yield Target(*warm, ours, "plain", 0.9)
    for ours in (_LZ4, _ZSTD_32K):
        # Opening takes a request or two; each read that reached the server would add 0.03 ms.
        yield Target("sequential", "warm_cpu_ms", ours, None, 5, at_most=True)
    yield Target("sequential", "cpu_s_per_gb", _LZ4, _SQUASHFUSE, 1.2, 1.0, at_most=True)


def _others() -> Iterator[Target]:
    yield Target("opl", "mbs", _LZ4, "bare", 0.9, 0.95)
    yield Target("pcsx2", "mbs", _LZ4, "bare", 0.9, 0.95)
    for ours in ("zsofs-slow-lz4-2k", "zsofs-slow-zstd-32k"):
        yield Target("slow-disk", "stored_mbs", ours, "plain-slow", 0.8, 1.0)
    yield Target("slow-disk", "stored_mbs", "squashfuse-slow-lz4", "plain-slow")
    for ours in (_LZ4, _ZSTD_32K):
        yield Target("stream", "worst_ms", ours, None, 100, 30, at_most=True)
    yield Target("four-readers", "mbs", _LZ4, _SQUASHFUSE, 1.0)
    yield Target("first-byte", "again_ms", "zsofs-dvd9", "zsofs-plain", 2, 1.2, at_most=True)
    yield Target("first-byte", "first_ms", "zsofs-dvd9", "zsofs-plain", at_most=True)
    yield Target("listing-cold", "first_s", "zsofs-cold", "source-cold", 1.5, 1.0, at_most=True)
    yield Target("listing", "first_s", "zsofs-known", "listed", 1.8, 1.3, at_most=True)
    yield Target("listing", "again_s", "zsofs-known", "listed", 1.3, 1.0, at_most=True)
    yield Target("mounting", "start_s", "zsofs-known-start", None, 0.35, at_most=True)
    for packed in ("lz4-2k", "zstd-32k"):
        yield Target("many-discs", "rss_mib", f"zsofs-500-{packed}", None, 114, at_most=True)
        yield Target("many-discs", "later_mib", f"zsofs-500-{packed}", None, 60, at_most=True)
    for readers in (8, 32):
        for figure in ("read_p99_ms", "list_p99_ms"):
            yield Target("hung", figure, f"zsofs-{readers}-hung", None, 20, 5, at_most=True)


def _starts() -> Iterator[Target]:
    first, second = "zsofs-start-first", "zsofs-start-second"
    for figure in ("waited", "at_disk"):
        for to in (first, "plain-start"):
            yield Target("starts", figure, second, to, 0.35, at_most=True)
    for figure in ("longest", "longest_at_disk"):
        yield Target("starts", figure, second, first, 0.5, at_most=True)
    for figure in ("waited", "at_disk"):
        yield Target(
            "starts", figure, "zsofs-start-other", "zsofs-start-without", 1.05, at_most=True
        )
    yield Target("starts", "wasted", "zsofs-start-other", None, 20, at_most=True)


def _samba() -> Iterator[Target]:
    for link in ("", "-100mbit"):
        ours, plain = f"zsofs-share{link}", f"plain-share{link}"
        yield Target(f"samba-opl{link}", "mbs", ours, plain, 0.9, 1.0)
    for link in ("", "-1gbit"):
        ours, plain = f"zsofs-share{link}", f"plain-share{link}"
        yield Target(f"samba-smb3{link}", "first_mbs", ours, plain, 0.9, 1.0)
    yield Target("samba-smb3", "again_mbs", "zsofs-share", "plain-share", 0.9, 1.0)
    for figure in ("opl_s", "smb3_s"):
        yield Target("samba-listing", figure, "zsofs-share", "plain-share", 1.5, 1.0, at_most=True)
    yield Target("samba-saves", "saves", "zsofs-share", "plain-share")


def _packing() -> Iterator[Target]:
    for packing in ("zstd-32k", "lz4-16k"):
        own, peer = f"pack-{packing}", f"mksquashfs-{packing}"
        yield Target("packing", "mbs", f"{own}-bare", peer, 1.0)
        yield Target("packing", "mbs", own, peer, 0.5)
        yield Target("packing", "share", own, peer, 1.02, at_most=True)


def _verifying() -> Iterator[Target]:
    yield Target("verifying", "mbs", "verify-zstd-32k", "openssl-md5", 0.8)
    for packing in ("lz4-2k", "deflate-2k"):
        yield Target("verifying", "mbs", f"verify-{packing}", "openssl-md5")


def _chd() -> Iterator[Target]:
    for figure, at_most in (("cold_mbs", False), ("cpu_s_per_gb", True)):
        for kib in (2, 4):
            for ours, other, least in (("zstd", "zstd", 0.85), ("zlib", "deflate", 0.9)):
                chd, plain = f"zsofs-chd-{ours}-{kib}k", f"zsofs-{other}-{kib}k"
                if at_most:
                    yield Target("chd-sequential", figure, chd, plain, 1 / least, at_most=True)
                else:
                    yield Target("chd-sequential", figure, chd, plain, least, 1.0)
    yield Target("chd-sequential", "cold_mbs", "zsofs-chd-lzma-4k", "one-core-liblzma", 1.8)
    yield Target("chd-sequential", "cold_mbs", "zsofs-chd-lzma-4k", "one-core-lzma", None)
    yield Target("chd-random-4k", "iops", "zsofs-chd-zstd-2k", "zsofs-zstd-2k", 0.9, 1.0)
    for packed in ("zstd-2k", "zlib-4k", "lzma-4k", "cdzl-19k", "cdzs-19k"):
        yield Target("chd-unpacking", "mbs", f"unpack-chd-{packed}", f"chdman-chd-{packed}", 1.5)
    yield Target("chd-cd-bin", "mbs", "one-core-cdzl", None, 100)
    yield Target("many-discs", "rss_mib", "zsofs-500-chd-zstd-2k", None, 124, at_most=True)


TARGETS: tuple[Target, ...] = (
    *_random(),
    *_sequential(),
    *_others(),
    *_packing(),
    *_verifying(),
    *_samba(),
    *_chd(),
)
