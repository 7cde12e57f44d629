"""What the documents say is what the code does."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_spec_reference_is_the_one_the_code_writes() -> None:
    written = runpy.run_path(str(ROOT / "tools" / "spec_reference.py"))["reference"]()
    assert (ROOT / "docs" / "spec.md").read_text(encoding="utf-8") == written, "run python tools/spec_reference.py"
