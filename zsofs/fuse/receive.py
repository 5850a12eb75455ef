"""Make pyfuse3 receive requests through zsofs's wrappers of libfuse functions.

Without them a non-blocking descriptor cannot be used: pyfuse3 terminates the mount on EAGAIN. A
blocking one stops the whole process if a request is withdrawn between poll(2) and read(2), because
its process was killed, until another request arrives.
"""

import importlib
import os
import sys


def load() -> None:
    """Load the wrappers; they are effective if pyfuse3 has not been imported yet."""
    flags = sys.getdlopenflags()
    sys.setdlopenflags(flags | os.RTLD_GLOBAL)
    try:
        importlib.import_module("zsofs.fuse._receive")
    finally:
        sys.setdlopenflags(flags)
