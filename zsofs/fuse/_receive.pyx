# cython: language_level=3
"""Wrappers of the calls of libfuse by which pyfuse3 gets its requests; see the header."""

cdef extern from "receive.h":
    int zsofs_is_in_use()


def is_in_use():
    """Return whether pyfuse3 gets its requests through the wrappers: False before the first one."""
    return bool(zsofs_is_in_use())
