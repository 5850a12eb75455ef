"""Have pyfuse3 receive requests through zsofs's wrappers of libfuse's calls.

Without them a descriptor that does not block cannot be used: pyfuse3 ends the mount on EAGAIN. One
that does block stops the whole process when a request is withdrawn between poll(2) and read(2),
because the process that made it was killed; it goes on only when somebody makes another request.
"""

import importlib
import os
import sys


def load() -> None:
    """Load the wrappers; they take effect if pyfuse3 has not been imported yet."""
    flags = sys.getdlopenflags()
    sys.setdlopenflags(flags | os.RTLD_GLOBAL)
    try:
        importlib.import_module("zsofs.fuse._receive")
    finally:
        sys.setdlopenflags(flags)
