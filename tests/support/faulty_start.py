"""Runs zsofs with a function that fails: ``faulty_start.py PLACE NAME FAULT mount …``.

PLACE is a module, or ``module:class``, and NAME what fails in it: always, with «bug» (an exception
that nobody expects) or «system» (an OSError); from its «second» call on; or it is «killed»; or it
does «nothing».
"""

import importlib
import os
import signal
import sys
from typing import Any

from zsofs.cli import main
from zsofs.mount import lifecycle, root_helper

_IMPORTED = (lifecycle, root_helper)  # before they are changed: else only the daemon imports them


def _install(place: str, name: str, fault: str) -> None:
    module, _, kind = place.partition(":")
    owner: Any = importlib.import_module(module)
    if kind:
        owner = getattr(owner, kind)
    right = getattr(owner, name)
    calls = 0

    def fail(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "nothing":
            return None
        if fault == "second":
            if calls < 2:
                return right(*args, **kwargs)
            raise BlockingIOError(11, "a fault")
        raise OSError(5, "a fault") if fault == "system" else ValueError("a fault")

    setattr(owner, name, fail)


if __name__ == "__main__":
    _install(*sys.argv[1:4])
    sys.exit(main.main(sys.argv[4:]))
