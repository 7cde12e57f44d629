"""Two devices compute what one computes; in a process of its own, since a process can make one mirrored set."""

import subprocess
import sys
from pathlib import Path


def test_two_replicas_equal_one_device():
    script = Path(__file__).with_name("two_replicas.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert done.stdout.endswith("equal\n"), done.stderr[-3000:]
