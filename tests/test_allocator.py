"""Large arrays come from memory that is kept, not from blocks that the system clears anew for each."""

import platform
import subprocess
import sys

import pytest

MAPPED = """
import ctypes, sys
import torch
from common.allocator import keep_large_blocks

NAMES = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"  # mallinfo2 in malloc.h

class Usage(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in NAMES.split()]

usage = ctypes.CDLL(None).mallinfo2
usage.restype = Usage
if sys.argv[1] == "keep":
    assert keep_large_blocks()
before = usage().hblkhd
kept = torch.ones(2**22)  # 16 MiB
print(usage().hblkhd - before)
"""


@pytest.mark.skipif(platform.libc_ver() < ("glibc", "2.33"), reason="a C library without mallinfo2")
def test_large_arrays_are_no_mappings_of_their_own() -> None:
    plain, kept = (
        int(subprocess.run([sys.executable, "-c", MAPPED, how], capture_output=True, text=True, check=True).stdout)
        for how in ("plain", "keep")
    )
    assert plain >= 2**24
    assert kept == 0
