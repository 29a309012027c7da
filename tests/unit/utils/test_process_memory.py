from __future__ import annotations

import subprocess
import sys

import pytest

from crnet.utils import process_memory as memory
from crnet.utils.process_memory import release_free_memory

SCRIPT = """
import sys
import numpy as np
from crnet.utils.process_memory import release_free_memory

def resident_mib():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmRSS:")).split()[1]) / 1024

np.zeros(30 << 20, np.uint8)  # freed at once; from now on glibc keeps blocks of this size
large, small = [], []
for _ in range(300):
    large.append(np.ones(400_000, np.uint8))
    small.append(bytes(6_000))
before = resident_mib()
large.clear()
after_clear = resident_mib()
release_free_memory()
print(before - after_clear, before - resident_mib())
"""


def test_releasing_memory_works_on_every_system() -> None:
    release_free_memory()


@pytest.mark.skipif(memory._trim is None, reason="glibc's malloc only")
def test_free_memory_between_blocks_in_use_is_released() -> None:
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    by_glibc, in_all = map(float, result.stdout.split())
    assert by_glibc < 30 and in_all > 80  # MiB, of 114
