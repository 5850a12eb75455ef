"""Runs zsofs with other timings: ``timed.py '{"quiet_file": 0.5}' mount -f ...``.

It is the real program in all else. `tests.support.mounting.timed` makes such a command.
"""

import json
import sys

from zsofs.cli import main
from zsofs.timings import Timings, use

if __name__ == "__main__":
    use(Timings(**json.loads(sys.argv.pop(1))))
    sys.exit(main.main())
