"""What other modules of the kernel take from the reader of blocks."""

from zsofs.native.codecs cimport Failure, Image


cdef class BlockReader:
    cdef Image image

cdef object error_of(Failure *failure)
