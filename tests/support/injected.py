"""System calls that lie or fail: a shared object made from C, loaded before the C library."""

import os
import shutil
import subprocess
from pathlib import Path

_HEAD = """\
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
"""


def preload(folder: Path, code: str) -> dict[str, str]:
    """Compile C *code* that replaces functions of the C library.

    Returns:
        The environment of a process that loads it.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "a C compiler is needed, as for building zsofs"
    source, made = folder / "injected.c", folder / "injected.so"
    source.write_text(_HEAD + code)
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return os.environ | {"LD_PRELOAD": str(made)}
