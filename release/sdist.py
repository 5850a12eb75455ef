"""The source distribution: ``./bootstrap.sh sdist`` makes it in ``dist/``, with the man pages."""

import shutil
import subprocess
import sys

from release import man_pages


def main() -> int:
    """Build the man pages, then the sdist that contains them."""
    if man_pages.BUILT.exists():
        shutil.rmtree(man_pages.BUILT)
    man_pages.BUILT.mkdir()
    try:
        man_pages.build(man_pages.BUILT)
        command = [sys.executable, "-m", "build", "--sdist", "--outdir"]
        done = subprocess.run(
            [*command, man_pages.ROOT / "dist", man_pages.ROOT], check=False, cwd=man_pages.ROOT
        )
    finally:
        shutil.rmtree(man_pages.BUILT)
    return done.returncode


if __name__ == "__main__":
    raise SystemExit(main())
