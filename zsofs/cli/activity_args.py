"""Options and help of `zsofs top` and `zsofs metrics`."""

from zsofs.cli.command_parser import CommandParser, Commands, add_command

_TOP_DESCRIPTION = """\
Shows what is read now: mounts, programs and discs with their rates and cache hits, and the last
slow reads with their cause. Without an argument, shows all your mounts; as root, the mounts of all
users.

Keys: q quits, p pauses and continues, s sorts discs by rate, total, slow reads or name. / shows
only discs and slow reads with a text in their names; Enter ends the input, Esc shows all.
"""

_TOP_EXAMPLES = """\
examples:
  zsofs top                  all your mounts; as root, the mounts of all users
  zsofs top --once ~/iso     print one mount once
  zsofs top games            the mount of the config games.toml
  zsofs top --json           JSON: a list of objects
"""

_METRICS_DESCRIPTION = """\
Prints the counters of mounts for Prometheus (text format 0.0.4): reads, bytes, errors, durations by
cause, slow reads, and the cache. Without an argument, prints those of all your mounts; as root, of
the mounts of all users. A mount that does not answer has the metric zsofs_up with the value 0.
"""

_METRICS_EXAMPLES = """\
examples:
  zsofs metrics                  all your mounts; as root, the mounts of all users
  zsofs metrics --per-disc       also the discs that were read
  zsofs metrics --textfile /var/lib/prometheus/node-exporter/zsofs.prom
                                 for the textfile collector of node_exporter
"""


def add_top(commands: Commands) -> None:
    """Add `zsofs top`."""
    top = add_command(
        commands, "top", "show what is read, and why it was slow", _TOP_DESCRIPTION, _TOP_EXAMPLES
    )
    _add_mount_points(top)
    top.add_argument("--once", action="store_true", help="print once, and exit")
    top.add_argument("--json", action="store_true", help="print once as JSON")


def add_metrics(commands: Commands) -> None:
    """Add `zsofs metrics`."""
    metrics = add_command(
        commands,
        "metrics",
        "print counters for Prometheus",
        _METRICS_DESCRIPTION,
        _METRICS_EXAMPLES,
    )
    _add_mount_points(metrics)
    metrics.add_argument(
        "--textfile",
        metavar="PATH",
        help="write to this file, which is replaced as a whole, instead of standard output",
    )
    metrics.add_argument(
        "--per-disc",
        action="store_true",
        help="add time series for each disc that was read since its mount started",
    )


def _add_mount_points(parser: CommandParser) -> None:
    parser.add_argument(
        "mount_points",
        nargs="*",
        metavar="MOUNTPOINT|NAME",
        help="only these mounts: mount points, or names of their configs (default: all)",
    )
