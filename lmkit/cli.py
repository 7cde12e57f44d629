"""argv to verb: the one owner of arguments, environment, terminal and exit codes; each verb is imported when asked for."""

import argparse
import errno
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TextIO

from lmkit.errors import DataError, LmkitError, MachineError, Problem, SpecError
from lmkit.run.console import Console

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE)
OUT_OF_MEMORY = "out of memory; lower training.batch_size or data.max_length, or raise training.gradient_accumulation_steps"

UNPRINTABLE = {
    code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code not in (9, 10)
}  # names in foreign files may hold them

Arguments = argparse.Namespace


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the arguments in the one-line format of every other error."""

    def error(self, message: str) -> NoReturn:
        raise SpecError(Problem(f"{message.replace(', key=value', '')}; see {self.prog} --help", where="command line"))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb and returns its exit code; every expected failure is lines on standard error, only a bug leaves a traceback file."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in arguments
    console = _console()
    try:
        with _interruptible():
            return _dispatch(arguments, console)
    except LmkitError as error:
        return _report(error, as_json, console)
    except KeyboardInterrupt:
        console.err("interrupted; nothing was saved by this command")
        return 130
    except BrokenPipeError:
        _to_nowhere(sys.stdout)
        return 141
    except (SystemExit, Exception) as error:
        if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":  # TensorFlow's, which is not imported here
            return _report(MachineError(OUT_OF_MEMORY), as_json, console)
        if _of_a_user(error):
            return _bug(error, as_json, console)
        if isinstance(error, SystemExit):
            raise
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            what = (error.strerror or str(error)).lower()
            return _report(MachineError(Problem(what, where=str(error.filename or ""))), as_json, console)
        if isinstance(error, FileNotFoundError) and "temporary directory" in str(error):  # tempfile's own, of all folders that it knows
            what = "no folder for temporary files can be written; set TMPDIR to one that can"
            return _report(MachineError(Problem(what, where="environment")), as_json, console)
        return _bug(error, as_json, console)


def _dispatch(arguments: list[str], console: Console) -> int:
    if arguments[:1] in (["--version"], ["-V"]):
        from importlib.metadata import version

        console.out(f"lmkit {version('lmkit')}")
        return 0
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        console.out(_help())
        return 0
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # whatever ~/.keras/keras.json says
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # looking for them reads the metadata of every installed package
    name = arguments[0]
    if name not in VERBS:
        near = _nearest(name)
        raise SpecError(Problem(f"{name} is no verb{near}; see lmkit --help", where="command line"))
    line, declare, run = VERBS[name]
    parser = Parser(prog=f"lmkit {name}", description=line, allow_abbrev=False)
    declare(parser)
    return run(parser.parse_intermixed_args(arguments[1:]), console)


def _help() -> str:
    width = max(map(len, VERBS)) + 2
    lines = ["usage: lmkit VERB ...", "", "Declare a language model in one YAML file, train it, watch it in TensorBoard.", ""]
    lines += [f"  {name:<{width}}{line}" for name, (line, _, _) in VERBS.items()]
    return "\n".join([*lines, "", "`lmkit VERB --help` tells more; `lmkit --version` the version."])


def _nearest(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, [*VERBS, "--help", "--version"], 1, 0.5)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; did you mean lmkit train {name}?" if name.endswith((".yaml", ".yml")) else ""


def _console() -> Console:
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed before we were started
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    stream = sys.stdout
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    terminal = stream.isatty()

    def write(text: str) -> None:
        try:
            stream.write(text)
            stream.flush()
        except BrokenPipeError:
            _to_nowhere(stream)
            raise

    def out(line: str) -> None:
        write(line + "\n")

    def err(line: str) -> None:
        try:
            print(line.translate(UNPRINTABLE), file=sys.stderr, flush=True)
        except BrokenPipeError:
            _to_nowhere(sys.stderr)

    columns = os.environ.get("COLUMNS", "")
    width = os.get_terminal_size(stream.fileno()).columns if terminal else int(columns) if columns.isdecimal() else 80
    return Console(
        out=out, err=err, write=write, lines=_standard_input, is_terminal=terminal, width=width, environment=dict(os.environ), quiet=_quiet
    )


def _standard_input() -> Iterator[str]:
    if sys.stdin is None:
        return
    for number, raw in enumerate(sys.stdin.buffer, 1):
        try:
            yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            what = f"byte 0x{raw[error.start]:02x} is not UTF-8; convert the text"
            raise DataError(Problem(what, where=f"standard input:{number}:{error.start + 1}")) from None


def _to_nowhere(stream: TextIO) -> None:
    """Nobody reads the stream any more: what is still to come, and the flush at exit, must not fail once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Interrupt:
    """What Ctrl-C does where nobody watches for it: KeyboardInterrupt, which libraries may swallow while they are imported."""

    heard = False

    def __call__(self, number: int, frame: object) -> NoReturn:
        self.heard = True
        raise KeyboardInterrupt


def _interrupted() -> bool:
    """Whether Ctrl-C was heard, whatever has become of the KeyboardInterrupt."""
    handler = signal.getsignal(signal.SIGINT)
    return isinstance(handler, Interrupt) and handler.heard


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C ends the block with KeyboardInterrupt, also where a library has made another error of it."""
    former = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or former in (signal.SIG_IGN, None):
        yield
        return
    signal.signal(signal.SIGINT, Interrupt())
    try:
        yield
    except BaseException:
        if _interrupted():
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, former)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what C++ code writes to standard error, and shows it only when the block fails in a way that nobody expects.

    TensorFlow and Keras are imported within: raises MachineError where the environment wants Keras to run on something else.
    """
    import tempfile

    if (backend := os.environ.get("KERAS_BACKEND", "tensorflow")) != "tensorflow":
        raise MachineError(Problem(f"lmkit runs on tensorflow, and KERAS_BACKEND is {backend}; unset it", where="environment"))

    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as heard:
        os.dup2(heard.fileno(), 2)
        try:
            yield
        except BaseException as error:
            if not (isinstance(error, LmkitError) or _interrupted()):
                heard.seek(0)
                os.write(kept, heard.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
    if _interrupted():
        raise KeyboardInterrupt


def _report(error: LmkitError, as_json: bool, console: Console) -> int:
    if as_json:
        problems = [problem.as_dict() for problem in error.problems]
        console.out(json.dumps({"ok": False, "exit_code": error.exit_code, "problems": problems}, ensure_ascii=False))
        return error.exit_code
    for problem in error.problems:
        console.err(str(problem))
    if isinstance(error, SpecError) and error.problems:
        count = len(error.problems)
        console.err(f"{count} problem{'s' if count > 1 else ''}; nothing was started.")
    return error.exit_code


def _of_a_user(error: BaseException) -> bool:
    code = sys.modules.get("lmkit.run.code")
    return code is not None and code.blame(error).where != ""


def _bug(error: BaseException, as_json: bool, console: Console) -> int:
    import tempfile
    import traceback

    from lmkit.run.code import blame, files_run, first_line

    (place, key), told = blame(error), "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile("w", prefix=f"lmkit-{'error' if place else 'bug'}-", suffix=".txt", delete=False) as file:
            file.write(told)
        where = file.name
    except OSError:  # a full disk, or no folder for temporary files
        print(told, file=sys.stderr)
        where = "the lines above"
    what = first_line(error)
    problem, code = Problem(f"a bug in lmkit ({what}); please report it with {where}"), 70
    if place:
        problem, code = Problem(f"{what}; the traceback is in {where}", key, place), SpecError.exit_code
    elif files_run():
        mine = f"please report it with {where}, unless lmkit check --allow-code finds it in {' or '.join(files_run())}"
        problem = Problem(f"a bug in lmkit ({what}); {mine}")
    if as_json:
        console.out(json.dumps({"ok": False, "exit_code": code, "problems": [problem.as_dict()]}, ensure_ascii=False))
    else:
        console.err(str(problem))
    return code


def _spec(parser: Parser) -> None:
    parser.add_argument("spec", type=Path, help="the spec file")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values laid over the spec, such as training.batch_size=512")


def _code(parser: Parser) -> None:
    parser.add_argument("--allow-code", action="store_true", help="run the Python files that the spec or run names (kind: custom)")


def _columns(parser: Parser) -> None:
    line = "which fields of the file hold what, such as text=body,label=stars; choices in fields of their own: choices=a,choices=b"
    parser.add_argument("--columns", metavar="ROLE=FIELD,...", help=line)


def _separator(parser: Parser) -> None:
    line = "what stands between several labels of a text in one field, such as '|' (default as the spec says, or a comma)"
    parser.add_argument("--label-separator", default="", metavar="TEXT", help=line)


def _tasks(parser: Parser) -> None:
    parser.add_argument("--task", action="append", default=[], metavar="NAME", help="this task alone; may be given several times")


def _json(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="write JSON to standard output, errors too")


def _declare_init(parser: Parser) -> None:
    parser.add_argument(
        "start", nargs="?", metavar="RECIPE|DATA", help="a shipped spec's name, a data file, or text=FILE,target=FILE; default: quickstart"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write there instead of to standard output; never overwrites")
    parser.add_argument("--list", action="store_true", help="list the shipped specs")
    _separator(parser)
    _json(parser)


def _init(a: Arguments, console: Console) -> int:
    from lmkit.run.init import init

    return init(a.start, output=a.output, listing=a.list, as_json=a.json, console=console, separator=a.label_separator)


def _declare_check(parser: Parser) -> None:
    _spec(parser)
    parser.add_argument("--strict", action="store_true", help="warnings are errors")
    parser.add_argument("--allow-code", action="store_true", help="run the custom parts (kind: custom) through the contract of their rooms")
    _json(parser)


def _check(a: Arguments, console: Console) -> int:
    from lmkit.run.check import check

    return check(a.spec, overrides=a.overrides, strict=a.strict, as_json=a.json, console=console, allow_code=a.allow_code)


def _declare_show(parser: Parser) -> None:
    _spec(parser)
    parser.add_argument("--origin", action="store_true", help="say where each value comes from")
    _json(parser)


def _show(a: Arguments, console: Console) -> int:
    from lmkit.run.show import show

    return show(a.spec, overrides=a.overrides, origin=a.origin, as_json=a.json, console=console)


def _declare_schema(parser: Parser) -> None:
    _json(parser)


def _schema(a: Arguments, console: Console) -> int:
    from lmkit.run.schema import schema

    return schema(console=console)


def _declare_plan(parser: Parser) -> None:
    _spec(parser)
    _code(parser)
    _json(parser)


def _plan(a: Arguments, console: Console) -> int:
    from lmkit.run.plan import plan

    return plan(a.spec, overrides=a.overrides, as_json=a.json, console=console, allow_code=a.allow_code)


def _declare_data(parser: Parser) -> None:
    _spec(parser)
    parser.add_argument("--examples", type=_natural, default=3, metavar="N", help="examples to show (default 3)")


def _data(a: Arguments, console: Console) -> int:
    from lmkit.run.data import data

    return data(a.spec, overrides=a.overrides, examples=a.examples, console=console)


def _declare_train(parser: Parser) -> None:
    _spec(parser)
    parser.add_argument("--run-dir", type=Path, metavar="DIR", help="default: runs/<name>; a run that is there goes on")
    parser.add_argument("--from-scratch", action="store_true", help="put aside what is in the run directory and begin anew")
    _code(parser)


def _train(a: Arguments, console: Console) -> int:
    from lmkit.run.signals import watch

    with watch(console.err) as stop:  # what is imported next takes its time
        from lmkit.run.train import train

        return train(
            a.spec, overrides=a.overrides, run_dir=a.run_dir, from_scratch=a.from_scratch, allow_code=a.allow_code,
            stop=stop, console=console,
        )  # fmt: skip


def _declare_doctor(parser: Parser) -> None:
    parser.add_argument("spec", nargs="?", type=Path, help="the spec file whose runtime section counts; default: none")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values laid over the spec")
    parser.add_argument("--wait", type=_natural, default=10, metavar="SECONDS", help="for other processes of the run (default 10)")
    _json(parser)


def _doctor(a: Arguments, console: Console) -> int:
    from lmkit.run.doctor import doctor

    return doctor(a.spec, overrides=a.overrides, wait=a.wait, as_json=a.json, console=console)


def _declare_verify_parallel(parser: Parser) -> None:
    _spec(parser)
    parser.add_argument("--steps", type=_natural, default=20, metavar="N", help="steps from the beginning of the run (default 20)")
    parser.add_argument("--replicas", type=_side, metavar="N", help="GPUs, or parts of the processor (default: runtime.replicas, or 2)")
    parser.add_argument("--workers", type=_side, metavar="N", help="compare so many processes too")
    parser.add_argument("--also", action="append", default=[], metavar="KEY=VALUE", help="compare the spec with this laid over it too")
    parser.add_argument("--side", type=Path, help=argparse.SUPPRESS)  # what the verb starts itself with
    _code(parser)
    _json(parser)


def _verify_parallel(a: Arguments, console: Console) -> int:
    if a.side is not None:
        from lmkit.run.rehearse import rehearse

        return rehearse(
            a.spec, overrides=a.overrides, steps=a.steps, replicas=a.replicas, folder=a.side, allow_code=a.allow_code, console=console
        )  # fmt: skip
    from lmkit.run.verify_parallel import Wish, verify_parallel

    wish = Wish(a.steps, a.replicas, a.workers, tuple(a.also))
    return verify_parallel(
        a.spec, overrides=a.overrides, wish=wish, as_json=a.json, console=console, allow_code=a.allow_code
    )  # fmt: skip


def _declare_evaluate(parser: Parser) -> None:
    parser.add_argument("run", type=Path, help="the run directory, a Hugging Face folder or a keras-hub preset")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="evaluate on this file instead of the run's validation data; text=FILE,target=FILE are two that are aligned by line",
    )
    _columns(parser)
    _separator(parser)
    _tasks(parser)
    parser.add_argument("--predictions", type=Path, metavar="FILE", help="write what was answered there, beside what is right, as JSONL")
    _held(parser)
    _code(parser)
    _json(parser)


def _evaluate(a: Arguments, console: Console) -> int:
    from lmkit.run.columns import columns_of
    from lmkit.run.evaluate import evaluate

    files = {"data": a.data, "columns": columns_of(a.columns) if a.columns else {}, "predictions": a.predictions}
    how = {"as_json": a.json, "allow_code": a.allow_code, "dtype": a.dtype, "separator": a.label_separator}
    return evaluate(a.run, **files, tasks=a.task, console=console, **how)


def _declare_predict(parser: Parser) -> None:
    parser.add_argument("run", type=Path, help="a run directory, or a Hugging Face folder")
    parser.add_argument("--text", action="append", default=[], metavar="TEXT", help="a text or question; may be given several times")
    parser.add_argument("--pair", action="append", default=[], metavar="TEXT", help="the second text of a pair, one for each --text")
    parser.add_argument("--choice", action="append", default=[], metavar="TEXT", help="what may be chosen for each --text; two or more")
    parser.add_argument(
        "--input",
        metavar="FILE",
        help="JSONL, CSV, TSV, Parquet, CoNLL, SQuAD or text, one answer a record or line; - is standard input, texts or JSON objects",
    )
    _columns(parser)
    parser.add_argument("--output", metavar="FILE", help="JSONL, which appears when all rows are answered; - is standard output")
    _tasks(parser)
    parser.add_argument("--keep", default="", metavar="FIELDS", help="fields of the input to write too, with commas, or all (default id)")
    parser.add_argument(
        "--on-error", choices=("fail", "skip", "null"), default="fail", help="a row without an answer ends all, is left out, or null"
    )
    parser.add_argument("--batch-size", type=_natural, metavar="N", help="rows that are computed at once (default 32)")
    _held(parser)
    _code(parser)
    _json(parser)


def _predict(a: Arguments, console: Console) -> int:
    from lmkit.run.columns import columns_of
    from lmkit.run.predict import Asked, predict

    keep = "all" if a.keep == "all" else [name for name in a.keep.split(",") if name]
    asked = Asked(
        a.text, a.pair, a.input, a.output, columns=columns_of(a.columns) if a.columns else {}, tasks=a.task, keep=keep,
        on_error=a.on_error, batch_size=a.batch_size, as_json=a.json, choices=a.choice,
    )  # fmt: skip
    return predict(a.run, asked, console, allow_code=a.allow_code, dtype=a.dtype)


def _dtype(parser: Parser, line: str) -> None:
    parser.add_argument("--dtype", choices=("float32", "stored", "bfloat16", "float16"), default="float32", help=line)


def _held(parser: Parser) -> None:
    line = "hold the weights and compute so (default float32); stored: as most of them are. 16 bits halve the memory and change figures"
    _dtype(parser, f"{line} in the third digit; slower on processors without units for them, and float16 may overflow")


def _declare_import(parser: Parser) -> None:
    from lmkit.checkpoints.hub.keras_hub.known import PRESETS
    from lmkit.checkpoints.hub.known import FAMILIES

    hub, presets = (", ".join(dict.fromkeys(family.model_type for family in known)) for known in (FAMILIES, PRESETS))
    parser.epilog = f"Read are folders of the model_type {hub}, and presets with a {presets}."
    parser.add_argument(
        "folder", type=Path, help="a Hugging Face folder (config.json, *.safetensors, tokenizer.json), or a keras-hub preset"
    )
    parser.add_argument("dest", type=Path, help="the run directory to make; it must not be there yet")
    _dtype(parser, "hold the weights so (default float32); stored: each as in the folder, half the disk where that is 16 bits")


def _import(a: Arguments, console: Console) -> int:
    from lmkit.run.import_ import import_

    return import_(a.folder, a.dest, console=console, dtype=a.dtype)


def _declare_export(parser: Parser) -> None:
    parser.add_argument("run", type=Path, help="the run directory, a Hugging Face folder or a keras-hub preset")
    parser.add_argument("dest", type=Path, help="the folder to make; it must not be there yet")
    parser.add_argument("--format", choices=("huggingface", "keras_hub"), default="huggingface", help="default: huggingface")
    parser.add_argument("--verify", action="store_true", help="open what was written and compare logits before it stays")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16", "float16"), help="of the weights; default: as in their folder, or float32"
    )
    parser.add_argument(
        "--task", metavar="NAME", help="write the head of this task alone; NAME.generator: the generator of a replaced_token task"
    )


def _export(a: Arguments, console: Console) -> int:
    from lmkit.run.export import Options, export

    options = Options(format=a.format, verify=a.verify, dtype=a.dtype, task=a.task)
    return export(a.run, a.dest, options=options, console=console)


def _natural(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'expected a whole number of 1 or more, got "{text}"')
    return int(text)


def _side(text: str) -> int:
    if not text.isdecimal() or not 2 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f'expected a whole number from 2 to 64, got "{text}"')
    return int(text)


def _stopping(text: str) -> bool | str:
    if text not in ("true", "false", "never"):
        raise argparse.ArgumentTypeError(f'expected true, false or never, got "{text}"')
    return text if text == "never" else text == "true"


# The words of generation/settings.py: how each is read, what its value is called, and what it does.
SETTINGS: dict[str, tuple[Callable[[str], Any], str, str]] = {
    "temperature": (float, "T", "below 1 is more certain (default 1)"),
    "top_k": (_natural, "K", "draw from the K likeliest tokens"),
    "top_p": (float, "P", "draw from the likeliest tokens that hold the share P together"),
    "min_p": (float, "P", "draw from tokens at least P times as likely as the likeliest"),
    "repetition_penalty": (float, "R", "above 1 makes tokens that were there less likely"),
    "no_repeat_ngram": (_natural, "N", "no N tokens in a row come twice"),
    "min_tokens": (_natural, "N", "at least so many new tokens"),
    "beams": (_natural, "K", "search with K beams for the likeliest text instead of drawing"),
    "length_penalty": (float, "A", "a search divides log probability by length to the power A (default 1)"),
    "early_stopping": (_stopping, "WHEN", "a search ends with K texts (true), when none likely (false) or possibly (never) gets better"),
    "texts": (_natural, "N", "so many texts of each prompt: draws, or the best of a search (default 1)"),
}


def _declare_generate(parser: Parser) -> None:
    parser.add_argument("run", type=Path, help="the run directory, or a model folder, whose own settings are the defaults")
    parser.add_argument("prompts", nargs="*", metavar="PROMPT", help="text to continue; several are continued at once")
    parser.add_argument("--max-tokens", type=_natural, metavar="N", help="at most so many new tokens (default 200, or the folder's)")
    parser.add_argument("--greedy", action="store_true", help="always the likeliest token")
    for word, (read, metavar, line) in SETTINGS.items():
        parser.add_argument(f"--{word.replace('_', '-')}", type=read, metavar=metavar, help=line)
    parser.add_argument("--chat", action="store_true", help="each prompt is what a user says, or the messages of a conversation as JSON")
    parser.add_argument("--system", metavar="TEXT", help="what the system says before a chat")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="the same seed gives the same text (default 0)")
    parser.add_argument("--stop", action="append", default=[], metavar="TEXT", help="end before this text; may be given several times")
    parser.add_argument("--no-stream", action="store_true", help="write each text when it is complete")
    _held(parser)
    _code(parser)
    _json(parser)


def _generate(a: Arguments, console: Console) -> int:
    from lmkit.run.generate import Wish, generate

    words = {word: value for word in SETTINGS if (value := getattr(a, word)) is not None}
    wish = Wish(
        words, greedy=a.greedy, max_tokens=a.max_tokens, seed=a.seed, stop=a.stop, stream=not a.no_stream, as_json=a.json,
        chat=a.chat, system=a.system,
    )  # fmt: skip
    return generate(a.run, prompts=a.prompts, wish=wish, console=console, allow_code=a.allow_code, dtype=a.dtype)


VERBS: dict[str, tuple[str, Callable[[Parser], None], Callable[[Arguments, Console], int]]] = {
    "init": ("write a commented starting spec, from a shipped one or from a data file", _declare_init, _init),
    "check": ("validate a spec", _declare_check, _check),
    "show": ("print the resolved spec, and where each value comes from", _declare_show, _show),
    "plan": ("print parameters, FLOPs and steps before training", _declare_plan, _plan),
    "data": ("scan the data and show examples as the model sees them", _declare_data, _data),
    "train": ("train, or go on where the run directory holds the same spec", _declare_train, _train),
    "doctor": ("say which devices and processes a run would have here, and whether they answer", _declare_doctor, _doctor),
    "verify-parallel": ("compare a spec on one device, on several and in micro-batches", _declare_verify_parallel, _verify_parallel),
    "evaluate": ("measure a run on its validation data or on a file", _declare_evaluate, _evaluate),
    "predict": ("classify, measure or embed texts, answer questions, fill masks, with a run or folder", _declare_predict, _predict),
    "generate": ("continue or answer a text with a run or folder", _declare_generate, _generate),
    "import": ("make a run of a Hugging Face folder or keras-hub preset", _declare_import, _import),
    "export": ("write a run's model as a Hugging Face folder or keras-hub preset", _declare_export, _export),
    "schema": ("print the JSON Schema of specs, for editors", _declare_schema, _schema),
}

if __name__ == "__main__":
    sys.exit(main())
