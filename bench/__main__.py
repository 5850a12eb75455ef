"""Measure zsofs beside its peers."""

import argparse
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from bench.plot import draw
from bench.report import as_markdown, as_text
from bench.run import Settings, run
from bench.system import BenchError, Unavailable

_HERE = Path(__file__).parent
_SIZE, _QUICK_SIZE = 736, 96
_ROUNDS, _QUICK_ROUNDS = 5, 1


def main() -> int:
    options = _parser().parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    whole = not options.quick and not options.only
    output = options.output or (_HERE if whole else options.work / "latest")
    plot = options.plot or (_HERE.parent / "docs" if whole else output) / "performance.png"
    settings = Settings(
        work=options.work.absolute(),
        size=options.size or (_QUICK_SIZE if options.quick else _SIZE),
        rounds=options.rounds or (_QUICK_ROUNDS if options.quick else _ROUNDS),
        quick=options.quick,
        only=tuple(options.only),
    )
    try:
        results = run(settings)
    except (BenchError, Unavailable, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted; everything is unmounted", file=sys.stderr)
        return 130
    print(as_text(results))
    output.mkdir(parents=True, exist_ok=True)
    results.save(output / "results.json")
    (output / "RESULTS.md").write_text(as_markdown(results))
    problem = draw(results, plot)
    print(f"\nwritten: {output / 'RESULTS.md'}, {output / 'results.json'}")
    print(f"no plot: {problem}" if problem else f"plot: {plot}")
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End in order; whatever else is pressed meanwhile must not stop the unmounting."""
    for known in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(known, signal.SIG_IGN)
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--quick", action="store_true", help="a small disc and one round: under five minutes"
    )
    parser.add_argument("--rounds", type=_positive, metavar="N", help="default: 5, quick: 1")
    parser.add_argument(
        "--only",
        metavar="PATTERN",
        action="append",
        default=[],
        help="only what has this in its name WORKLOAD/CONTENDER; * stands for anything, as in"
        " 'random-4k/*lz4'; may be given several times",
    )
    parser.add_argument(
        "--size", type=_disc_size, metavar="MB", help="of the disc; default: 736, quick: 96"
    )
    parser.add_argument(
        "--work",
        type=Path,
        metavar="DIR",
        default=cache / "zsofs-bench",
        help="where the discs are kept (about 8 GB; default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="where RESULTS.md and results.json go (default: this folder for a whole run, else"
        " the folder latest in DIR of --work)",
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="where the picture goes (default: docs/performance.png for a whole run, else beside"
        " RESULTS.md)",
    )
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _disc_size(text: str) -> int:
    if not text.isdecimal() or int(text) < 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of MB from 64 on")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
