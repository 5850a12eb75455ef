"""What other modules of the kernel take from the reader of blocks."""

from zsofs.native.chd_map cimport ChdMap
from zsofs.native.codecs cimport Failure, Image


cdef class BlockReader:
    cdef Image image
    cdef readonly ChdMap chd_map

cdef object error_of(Failure *failure)
