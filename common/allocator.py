"""The C library's allocator, told to keep large blocks: training allocates arrays of the same sizes again and again."""

import ctypes
import platform

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Names of settings in glibc's ``malloc.h``."""

LARGEST = 32 * 2**20
"""Bytes of the largest block that is kept; glibc takes no more."""

KEPT = 2**29
"""Bytes of free memory that stay with the process."""


def keep_large_blocks() -> bool:
    """Have blocks of up to LARGEST bytes reused and not returned to the system; whether the C library is glibc."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(MMAP_THRESHOLD, LARGEST) and mallopt(TRIM_THRESHOLD, KEPT))
