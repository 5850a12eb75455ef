"""A picture of throughput and latency, legible at the width of a README."""

from pathlib import Path

from bench.results import Results, Summary
from bench.servers import CONTENDERS, Contender

_COLOURS = {"zsofs": "#1f6fb2", "peer": "#c26a1b", "limit": "#7a7a7a"}
_LATENCY = (
    ("random-4k", "Random 4 KiB: latency"),
    ("random-32k", "Random 32 KiB: latency"),
)


def draw(results: Results, path: Path) -> str:
    """Write the picture; gives what stood in the way, or nothing."""
    rows = [c for c in CONTENDERS if results.rounds("sequential", c.name, "cold_mbs")]
    rows = [c for c in rows if results.rounds("random-4k", c.name, "p50_us")]
    if not rows:
        return "it needs the workloads sequential and random-4k"
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError:
        return "matplotlib is not installed"
    plt.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False})
    figure, (throughput, *latencies) = plt.subplots(
        1, 3, sharey=True, figsize=(12, 1.6 + 0.36 * len(rows)), layout="constrained"
    )
    places = range(len(rows), 0, -1)
    for place, contender in zip(places, rows, strict=True):
        colour = _COLOURS[contender.kind]
        summary = Summary.of(results.rounds("sequential", contender.name, "cold_mbs"))
        throughput.barh(place, summary.median, color=colour, height=0.66)
        throughput.plot([summary.least, summary.most], [place, place], color="black", lw=1.2)
        for axes, (workload, _) in zip(latencies, _LATENCY, strict=True):
            points = _percentiles(results, workload, contender)
            if points:
                axes.plot(points, [place, place], color=colour, lw=2.5, alpha=0.5, zorder=1)
                axes.scatter(points[0], place, color=colour, s=46, zorder=2)
                axes.scatter(points[1], place, color=colour, s=46, marker="|", lw=2.5, zorder=2)
    throughput.set_yticks(list(places), [contender.title for contender in rows])
    throughput.set_title("A whole disc in order, MB/s\n(longer is better)", fontsize=11)
    throughput.set_ylim(0.4, len(rows) + 0.6)
    for axes, (_, title) in zip(latencies, _LATENCY, strict=True):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(_time)
        axes.set_title(f"{title}\n(● median, | 99th percentile)", fontsize=11)
    for axes in (throughput, *latencies):
        axes.grid(axis="x", color="#dddddd", lw=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, facecolor="white")
    plt.close(figure)
    return ""


def _time(microseconds: float, _: int | None = None) -> str:
    """A label as short as can be."""
    if microseconds < 1000:
        return f"{microseconds:g} µs"
    return f"{microseconds / 1000:g} ms" if microseconds < 1e6 else f"{microseconds / 1e6:g} s"


def _percentiles(results: Results, workload: str, contender: Contender) -> list[float]:
    found = [results.rounds(workload, contender.name, figure) for figure in ("p50_us", "p99_us")]
    return [Summary.of(rounds).median for rounds in found] if all(found) else []
