"""Wrong specs by the thousand: `python tools/fuzz.py --count 100000` spoils shipped ones, one thing at a time, and judges every answer.

No answer may be a bug, take a second, name no place, or do anything but read: what a check opens for writing, sends or starts is counted.
"""

import argparse
import contextlib
import io
import json
import os
import random
import re
import resource
import string
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from lmkit.cli import main as lmkit
from lmkit.spec_file import words
from lmkit.spec_file.recipes import recipes

KEY = re.compile(r"(?:^|[\s{,-])([a-z_0-9]+):(?= |$)", re.MULTILINE)
VALUE = re.compile(r"(?<=: )(?:\{[^{}\n]*\}|\[[^\[\]\n]*\]|\"[^\"\n]*\"|[^\s{}\[\],#\"][^{}\[\],#\n\"]*[^\s{}\[\],#\"]|[^\s{}\[\],#\"])")
SIGNS = "ab:-?!&*#|>%@`\"'{}[], \t\n01.~<é"
VALUES = [
    "true", "null", "-1", "0", "1e30", "1.5", "12.0", "'12'", "[1]", "[]", "{}", "zzz", "010", "1:30", "1_000", ".nan", ".inf",
    "1T", "2024-01-01", "no", "~", "99999999999999999999", "$HOME/x", "{a: 1}",
]  # fmt: skip
BROKEN = ["'", '"', "[", "{", "*x", "!t x", "&a b", "%", "@", "- x", "a: b", "!!python/object/apply:os.system ['x']", "\t", "5 apples"]
SLOWEST, LARGEST = 1.0, 100 * 2**20  # seconds of the processor, bytes
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
ACTS = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.mkdir", "os.rename", "os.remove", "os.link",
        "os.symlink", "os.rmdir", "os.truncate", "os.chmod", "shutil.", "ctypes.dlopen", "pickle.", "marshal.loads", "urllib.")  # fmt: skip
IMPORTING = "<frozen importlib._bootstrap_external>"  # reads the compiled file of a module that is needed for the first time


@dataclass(frozen=True)
class Mutant:
    """A spoilt text; `line` is where it was spoilt, and `key` the key there, or what a slip of one letter should have been."""

    kind: str
    text: bytes
    line: int | None = None
    key: str = ""


@dataclass
class Tally:
    """What was seen of all mutants, and the first examples of what must not be."""

    seen: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    placed: Counter[str] = field(default_factory=Counter)  # with a line, and a problem on it
    nearly: Counter[str] = field(default_factory=Counter)  # with a problem elsewhere that names the key
    aimed: Counter[str] = field(default_factory=Counter)
    meant: int = 0
    slips: int = 0
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)
    misses: list[str] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        aimed = sum(self.aimed.values())
        return {
            "mutants": sum(self.seen.values()),
            "refused": sum(self.refused.values()),
            "faults": len(self.faults),
            "slowest_s": round(self.slowest, 3),
            "on_the_line": round(sum(self.placed.values()) / max(aimed, 1), 5),
            "on_the_line_or_naming_the_key": round((sum(self.placed.values()) + sum(self.nearly.values())) / max(aimed, 1), 5),
            "did_you_mean": round(self.meant / max(self.slips, 1), 5),
            "slips_judged": self.slips,
            "kinds": {kind: [self.seen[kind], self.refused[kind], self.placed[kind]] for kind in sorted(self.seen)},
        }


acts: list[str] = []
_watching = False


@cache
def _listen() -> None:
    """A hook of the interpreter's can never be removed, so there is one."""
    sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching:
        return
    if event == "open":
        path, mode, flags = arguments
        if (isinstance(flags, int) and flags & WRITING) or (isinstance(mode, str) and set(mode) & set("wax+")):
            acts.append(f"open {path} {mode}")
    elif event.startswith(ACTS) and sys._getframe(1).f_code.co_filename != IMPORTING:
        acts.append(f"{event} {arguments!r}"[:200])


def answer(text: bytes, path: Path) -> tuple[int, list[dict[str, Any]], float, list[str]]:
    """The exit code of `lmkit check`, its problems, its seconds, and what it did beside reading."""
    global _watching
    path.write_bytes(text)
    out, err = io.StringIO(), io.StringIO()
    acts.clear()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        started, _watching = time.process_time(), True
        try:
            code = lmkit(["check", "--json", str(path)])
        finally:
            _watching = False
        spent = time.process_time() - started
    said = json.loads(out.getvalue())
    return code, said.get("problems", []), spent, [*acts, *([err.getvalue()] if err.getvalue() else [])]


def judge(mutant: Mutant, path: Path, tally: Tally) -> None:
    """One mutant's answer, counted."""
    code, problems, spent, done = answer(mutant.text, path)
    tally.seen[mutant.kind] += 1
    tally.slowest = max(tally.slowest, spent)
    wrong = [f"exit {code}: {problems}"] if code not in (0, 2) else []
    wrong += [f"{spent:.2f} s"] if spent > SLOWEST else []
    wrong += [f"did {done}"] if done else []
    if code == 2:
        tally.refused[mutant.kind] += 1
        placeless = [p for p in problems if p.get("file") != str(path) or "line" not in p]
        wrong += [f"no place: {placeless}"] if placeless or not problems or len(problems) > 20 else []
        _aim(mutant, problems, tally)
    for what in wrong:
        tally.faults.append(f"{mutant.kind}: {what[:500]}\n{mutant.text!r}")


def _aim(mutant: Mutant, problems: list[dict[str, Any]], tally: Tally) -> None:
    if mutant.line is None:
        return
    tally.aimed[mutant.kind] += 1
    lines = {p.get("line") for p in problems}
    if mutant.line in lines or any(f"line {mutant.line} " in p["what"] for p in problems):
        tally.placed[mutant.kind] += 1
    elif any(re.search(rf"\b{re.escape(mutant.key)}\b", f"{p['key']} {p['what']}") for p in problems):
        tally.nearly[mutant.kind] += 1
    else:
        tally.misses.append(f"{mutant.kind} line {mutant.line} {mutant.key}: {problems}\n{mutant.text.decode(errors='replace')}")
    if mutant.kind == "slip":
        here = [p["what"] for p in problems if p.get("line") == mutant.line]
        told = [what for what in here if "given twice" not in what]  # another key of the section, spelled right
        tally.slips += bool(told)
        right = any(re.search(rf"did you mean ('?\w+'? or )*'?{mutant.key}\b.*\?", what) for what in told)
        tally.meant += right
        if told and not right:
            tally.misses.append(f"slip of {mutant.key}: {told}")


def keys(text: str) -> list[re.Match[str]]:
    """The keys of a text that are lmkit's own words."""
    body = re.sub(r"#.*", lambda comment: " " * len(comment[0]), text)
    known = {key for _, cls in words.sections() for key in words.fields(cls)}
    return [match for match in KEY.finditer(body) if match[1] in known]


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def slip(text: str, rng: random.Random) -> Mutant:
    """A key with one letter left out, put in, replaced or exchanged with the next."""
    key = rng.choice(keys(text))
    at, letter = rng.randrange(key.start(1), key.end(1)), rng.choice(string.ascii_lowercase)
    made = rng.choice(
        [
            text[:at] + text[at + 1 :],
            text[:at] + letter + text[at:],
            text[:at] + letter + text[at + 1 :],
            text[:at] + text[at + 1 : at + 2] + text[at] + text[at + 2 :] if at + 1 < key.end(1) else text[:at] + text[at + 1 :],
        ]
    )
    return Mutant("slip" if made != text else "nothing", made.encode(), _line(text, key.start(1)), key[1])


def _replaced(kind: str, values: list[str]) -> Callable[[str, random.Random], Mutant]:
    def made(text: str, rng: random.Random) -> Mutant:
        body = re.sub(r"#.*", lambda comment: " " * len(comment[0]), text)
        value = rng.choice(list(VALUE.finditer(body)))
        before = KEY.findall(body[: value.start()])
        key = before[-1] if before else ""
        return Mutant(kind, (text[: value.start()] + rng.choice(values) + text[value.end() :]).encode(), _line(text, value.start()), key)

    return made


def without(text: str, rng: random.Random) -> Mutant:
    """A line taken out: what it leaves may be told anywhere."""
    lines = text.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    return Mutant("line out", "".join(lines[:at] + lines[at + 1 :]).encode())


def doubled(text: str, rng: random.Random) -> Mutant:
    lines = text.splitlines(keepends=True)
    at = rng.choice([i for i, line in enumerate(lines) if ":" in line and not line.lstrip().startswith("#")])
    deeper = at + 1 < len(lines) and _indent(lines[at + 1]) > _indent(
        lines[at]
    )  # a section's line alone: its double is a section of nothing
    return Mutant("line doubled", "".join(lines[: at + 1] + lines[at:]).encode(), None if deeper else at + 2, "")


def moved(text: str, rng: random.Random) -> Mutant:
    """A line that stands in another section than its own."""
    lines = text.splitlines(keepends=True)
    plain = [i for i, line in enumerate(lines) if re.match(r" +[a-z_]+: \S", line)]
    at = rng.choice(plain)
    to = rng.choice([i for i in plain if i != at])
    line = " " * _indent(lines[to]) + lines[at].lstrip()
    rest = [*lines[:to], line, *lines[to:]] if to < at else [*lines[: to + 1], line, *lines[to + 1 :]]
    del rest[at + 1 if to < at else at]
    return Mutant("line moved", "".join(rest).encode())


def exchanged(text: str, rng: random.Random) -> Mutant:
    """Two neighbouring lines the other way round."""
    lines = text.splitlines(keepends=True)
    at = rng.randrange(len(lines) - 1)
    lines[at], lines[at + 1] = lines[at + 1], lines[at]
    return Mutant("lines exchanged", "".join(lines).encode())


def indented(text: str, rng: random.Random) -> Mutant:
    lines = text.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    lines[at] = rng.choice([" ", "   ", "\t"]) + lines[at]
    return Mutant("indented", "".join(lines).encode())


def torn(text: str, rng: random.Random) -> Mutant:
    """Bytes put in, left out or changed anywhere."""
    raw = text.encode()
    at, some = rng.randrange(len(raw)), rng.randbytes(rng.randint(1, 4))
    return Mutant("bytes", rng.choice([raw[:at] + some + raw[at:], raw[:at], raw[:at] + some + raw[at + len(some) :]]))


def signs(text: str, rng: random.Random) -> Mutant:
    """Nothing but the signs that YAML knows."""
    del text
    return Mutant("signs", "".join(rng.choices(SIGNS, k=rng.randint(0, 120))).encode())


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


MUTATIONS: list[Callable[[str, random.Random], Mutant]] = [
    slip, slip, _replaced("value", VALUES), _replaced("value", VALUES), _replaced("broken value", BROKEN),
    without, doubled, moved, exchanged, indented, torn, signs,
]  # fmt: skip


def mutants(count: int, seed: int) -> Iterator[Mutant]:
    """So many of them, the same for the same seed."""
    texts, rng = [path.read_text() for path in recipes().values()], random.Random(seed)
    for _ in range(count):
        yield rng.choice(MUTATIONS)(rng.choice(texts), rng)


def run(count: int, seed: int, folder: Path) -> Tally:
    """Judges so many mutants, each written to a file of the folder."""
    path, tally = folder / "spec.yaml", Tally()
    for text in (b"name: x\n", *(one.read_bytes() for one in recipes().values())):
        answer(text, path)  # imports, which are not what is measured
    _listen()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for mutant in mutants(count, seed):
        judge(mutant, path, tally)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    if grown > LARGEST:
        tally.faults.append(f"memory grew by {grown / 2**20:.0f} MiB")
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=5, help="examples of each thing that went wrong")
    a = parser.parse_args()
    sys.dont_write_bytecode = True
    with tempfile.TemporaryDirectory() as folder:
        tally = run(a.count, a.seed, Path(folder))
    for line in (*tally.faults[: a.show], *tally.misses[: a.show]):
        print(line)
    print(json.dumps(tally.report(), indent=1))
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
