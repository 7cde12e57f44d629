"""Values that look like credentials: they have no place in a file that is copied into runs and reports."""

import re
from collections.abc import Iterator

from lmkit.errors import Problem
from lmkit.spec_file.tree import Node, dotted, leaves

SECRET = re.compile(
    r"hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20,}|xox[abprs]-[A-Za-z0-9-]{10,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY|://[^/\s:@]+:[^/\s:@]+@"
)


def secrets(tree: Node) -> Iterator[Problem]:
    """A problem for each value that looks like one; the value itself is not repeated."""
    for path, node in leaves(tree):
        if isinstance(node.value, str) and SECRET.search(node.value):
            what = "looks like a password or token; do not put secrets in specs, let the library read them from the environment"
            yield Problem(what, dotted(path), node.at)
