"""Values that look like credentials: they have no place in a file that is copied into runs and reports."""

import re
from collections.abc import Iterator
from dataclasses import replace

from lmkit.errors import Problem
from lmkit.spec_file.tree import Node, dotted, leaves

SECRET = re.compile(
    r"hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20,}|xox[abprs]-[A-Za-z0-9-]{10,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY|://[^/\s:@]+:[^/\s:@]+@|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}|AIza[A-Za-z0-9_-]{35}"
    r"|X-(?:Amz|Goog)-Signature=[0-9a-fA-F]{20,}|(?i:\b(?:password|passwd|api[_-]?key|secret[_-]?key|access[_-]?token)\b\s*[=:]\s*\S{6,})"
)
WHAT = "looks like a password or token; do not put secrets in specs, let the library read them from the environment"


def secrets(tree: Node, text: str, file: str) -> Iterator[Problem]:
    """A problem for each value of a spec that looks like one, and each other place in its text, which is kept with its comments."""
    told = set()
    for path, node in leaves(tree):
        if isinstance(node.value, str) and SECRET.search(node.value):
            told.add(node.at.rpartition(":")[0])
            yield Problem(WHAT, dotted(path), node.at)
    for number, line in enumerate(text.splitlines(), 1):
        found = SECRET.search(line)
        if found and f"{file}:{number}" not in told:
            yield Problem(WHAT, where=f"{file}:{number}:{found.start() + 1}")


def hidden(problem: Problem) -> Problem:
    """The problem without what looks like a secret in what it repeats of the spec."""
    return replace(problem, what=SECRET.sub("...", problem.what), key=SECRET.sub("...", problem.key))
