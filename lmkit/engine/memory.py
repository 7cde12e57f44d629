"""How much memory this machine gives to a process; known without TensorFlow."""

import contextlib
import math
import os
from pathlib import Path

LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))  # of a container, by age of the kernel


def machine_memory() -> float:
    """Bytes that this process may have: the machine's, or fewer in a container; infinite where the system does not tell."""
    found = []
    with contextlib.suppress(AttributeError, ValueError, OSError):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in LIMITS:
        with contextlib.suppress(ValueError, OSError):  # "max" where there is none
            found.append(int(path.read_text()))
    return min(found, default=math.inf)
