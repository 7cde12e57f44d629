"""From paths and globs to lines of text: every data file is found, opened, unpacked and decoded here, and refused with its place."""

import gzip
import os
import stat
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar

from lmkit.errors import DataError, Interrupted, Problem

Made = TypeVar("Made")
Stop = Callable[[], bool]
Warn = Callable[[str], object]

MAGIC = frozenset("*?[")
BOMB_RATIO, BOMB_FLOOR = 200, 64 * 2**20  # unpacked bytes to packed ones; text compresses 3 to 20 times
SPLIT_LIMIT = 2**28  # bytes of one record that is parsed as a whole, even where long records are split
SPLIT_AT = 2**22  # bytes; a longer line comes in parts where that is allowed


def never() -> bool:
    return False


def silent(_: str) -> None:
    return None


def find(patterns: Iterable[str], base: Path, warn: Warn = silent) -> list[Path]:
    """The files of paths and globs, each once, those of a glob sorted; relative ones start at `base`.

    Raises DataError for what matches nothing, is no regular file, is empty, or cannot be read.
    """
    found: dict[str, Path] = {}
    repeated = []
    for pattern in patterns:
        for path in _matches(pattern, base):
            _regular(path)
            real = os.path.realpath(path)
            if real in found:
                repeated.append(str(path))
            found.setdefault(real, path)
    if repeated:
        warn(f"{repeated[0]}{f' and {len(repeated) - 1} more files' if len(repeated) > 1 else ''} named twice; read once")
    return list(found.values())


def _matches(pattern: str, base: Path) -> list[Path]:
    if "://" in pattern:
        raise DataError(Problem("is a remote address; only local files are read, download it first", where=pattern))
    path = base / os.path.expanduser(pattern)
    if os.path.lexists(path) or not MAGIC & set(pattern):
        return [path]
    anchor, rest = _anchor(path)
    hidden = any(part.startswith(".") for part in rest.parts)
    try:
        matches = sorted(p for p in anchor.glob(str(rest)) if hidden or not _hidden(p.relative_to(anchor)))
    except (ValueError, OSError, NotImplementedError) as error:
        raise DataError(Problem(f"is no glob that can be read: {error}", where=pattern)) from None
    files = [p for p in matches if not p.is_dir()]
    if not files:
        what = "matches only folders; write for example folder/*.txt" if matches else "matches no file"
        raise DataError(Problem(f"{what} (looked from {base.absolute()})", where=pattern))
    return files


def _anchor(path: Path) -> tuple[Path, Path]:
    """The folders before the first magic character, and the rest."""
    plain = 0
    while plain < len(path.parts) and not MAGIC & set(path.parts[plain]):
        plain += 1
    return Path(*path.parts[:plain]), Path(*path.parts[plain:])


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _regular(path: Path) -> None:
    try:
        status = path.stat()
    except FileNotFoundError:
        kind = "is a link to nothing" if path.is_symlink() else "no such file"
        raise DataError(Problem(f"{kind} (looked from {Path.cwd()})", where=str(path))) from None
    except (OSError, ValueError) as error:
        raise DataError(Problem(f"cannot be read: {getattr(error, 'strerror', None) or error}", where=str(path))) from None
    if stat.S_ISDIR(status.st_mode):
        raise DataError(Problem(f"is a folder; write for example {path}/*{_common_ending(path)}", where=str(path)))
    if not stat.S_ISREG(status.st_mode):
        raise DataError(Problem("is no regular file (a pipe, socket or device)", where=str(path)))
    if status.st_size == 0:
        raise DataError(Problem("is empty", where=str(path)))


def _common_ending(folder: Path) -> str:
    """Of most files in a folder, .txt where there are none that can be seen."""
    with suppress(OSError):
        endings = Counter(path.suffix for path in folder.iterdir() if path.suffix and not path.is_dir())
        return max(sorted(endings), key=endings.__getitem__, default=".txt")
    return ".txt"


def tried(make: Callable[..., Made], *arguments: Any) -> Made | DataError:
    """What is made of a row, or the error that says why it cannot be."""
    try:
        return make(*arguments)
    except DataError as error:
        return error


def sound(made: Made | DataError) -> Made:
    """What was made of a row; raises the error that stands in its place."""
    if isinstance(made, DataError):
        raise made
    return made


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes, unpacked where its name ends in .gz; a broken or truncated archive is a DataError."""
    try:
        with gzip.open(path) if path.name.endswith(".gz") else open(path, "rb") as file:
            yield file  # type: ignore[misc]
    except EOFError:
        raise DataError(Problem("is cut off: the compressed data ends early", where=str(path))) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(Problem(f"is no whole gzip file: {str(error).lower()}", where=str(path))) from None
    except OSError as error:
        raise DataError(Problem(f"cannot be read: {error.strerror or error}", where=str(path))) from None


def lines(
    path: Path,
    *,
    errors: Literal["fail", "replace"] = "fail",
    longest: int,
    split: bool = False,
    stop: Stop = never,
) -> Iterator[tuple[int, str]]:
    """As `each_line`, but the first line that cannot be read is raised."""
    for number, text in each_line(path, errors=errors, longest=longest, split=split, stop=stop):
        yield number, sound(text)


def each_line(
    path: Path,
    *,
    errors: Literal["fail", "replace"] = "fail",
    longest: int,
    split: bool = False,
    stop: Stop = never,
) -> Iterator[tuple[int, str | DataError]]:
    """(line number from 1, text with its "\\n") of a UTF-8 file; "\\r\\n" becomes "\\n" and a byte order mark is dropped.

    A line of more than `longest` bytes is an error in the text's place, as is one that is not UTF-8, or with `split` comes in parts
    under one number, cut at blanks. Raises DataError for a file that cannot be read.
    """
    with opened(path) as file:
        number, produced, rest = 0, 0, b""
        packed = path.stat().st_size if path.name.endswith(".gz") else 0
        room = SPLIT_AT if split else longest
        while True:
            raw = file.readline(room + 2)
            if not raw and not rest:
                return
            if not rest:
                number += 1
            produced += len(raw)
            if packed and produced > max(BOMB_FLOOR, BOMB_RATIO * packed):
                raise DataError(Problem(f"unpacks to more than {BOMB_RATIO} times its size; is it text?", where=str(path)))
            raw = rest + raw
            if number == 1 and raw[:3] == b"\xef\xbb\xbf":
                raw = raw[3:]
            rest = b""
            if len(raw.rstrip(b"\r\n")) > room:
                if not split:
                    yield number, DataError(Problem(_TOO_LONG.format(longest), where=f"{path}:{number}"))
                    while raw and not raw.endswith(b"\n"):
                        raw = file.readline(room)
                    continue
                raw, rest = _halved(raw)
            if raw.endswith(b"\r\n"):
                raw = raw[:-2] + b"\n"
            yield number, tried(decoded, raw, path, number, errors)
            if number % 1024 == 0 and stop():
                raise Interrupted("stopped while reading the data; nothing is lost")


_TOO_LONG = "longer than max_record_bytes = {:,}; raise it, or set long_records: split"


def _halved(raw: bytes) -> tuple[bytes, bytes]:
    at = raw.rfind(b" ")
    if at <= 0:
        at = len(raw) - 1
        while at > 1 and raw[at] & 0xC0 == 0x80:
            at -= 1
    return raw[:at], raw[at:]


def decoded(raw: bytes, path: Path, number: int, errors: Literal["fail", "replace"]) -> str:
    """Text of a line's bytes; NUL and what is not UTF-8 are a DataError with file:line:byte, or become U+FFFD."""
    try:
        text = raw.decode("utf-8", "strict" if errors == "fail" else "replace")
    except UnicodeDecodeError as error:
        where = f"{path}:{number}:{error.start + 1}"
        if number == 1 and raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise DataError(Problem("is UTF-16, not UTF-8; convert it, for example iconv -f UTF-16 -t UTF-8", where=where)) from None
        what = f"byte 0x{raw[error.start]:02x} is not UTF-8; convert the file, or set encoding_errors: replace"
        raise DataError(Problem(what, where=where)) from None
    if "\0" in text:
        if errors == "replace":
            return text.replace("\0", "�")
        what = "a NUL byte; is this a text file in UTF-8? (encoding_errors: replace lets it pass)"
        raise DataError(Problem(what, where=f"{path}:{number}:{raw.index(0) + 1}"))
    return text
