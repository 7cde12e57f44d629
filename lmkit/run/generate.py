"""`lmkit generate`: continues texts with a run or folder that has a causal_lm task, or answers them with one that has a seq2seq task."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lmkit.inference.manner import manner, most_new
from lmkit.run.body import body_of
from lmkit.run.console import Console
from lmkit.run.source import existing, habits_of
from lmkit.tasks.spec import Seq2seq

if TYPE_CHECKING:
    from lmkit.checkpoints.hub.generation import Habits
    from lmkit.generation.beams import BeamSearch
    from lmkit.generation.decode import Generator
    from lmkit.generation.layout import Continuation
    from lmkit.generation.stream import TextStream
    from lmkit.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Wish:
    """What the command line asks for; `words` are those of generation/settings.py, `max_tokens` None leaves it to the habits."""

    words: Mapping[str, Any]
    greedy: bool = False
    max_tokens: int | None = None
    seed: int = 0
    stop: Sequence[str] = ()
    stream: bool = True
    as_json: bool = False
    chat: bool = False
    system: str | None = None


def generate(
    run: Path, *, prompts: Sequence[str], wish: Wish, console: Console, allow_code: bool = False, dtype: str = "float32"
) -> int:  # fmt: skip
    """Writes each prompt with what comes after it; without prompts, one text from its beginning.

    Beside an encoder, which reads the prompt, only what the decoder writes is written. A single text is written as it is
    drawn, if that is wished for; a search knows its texts at the end only. As JSON it is one object a line: prompt, text
    (what was drawn), tokens (how many), reason (`length`, `end` of the document, or a `stop` string, which is not part of
    the text) and, of a search, its score. A drawn text longer than the run's max_length goes on from its last tokens, which
    a line on standard error says, as it does what a folder's habits ask for in vain. As a chat each prompt is what a user says,
    put into the model's chat template, and only the answer is written, up to the token that ends the model's turn.
    """
    habits = habits_of(run)
    words = manner(wish.words, habits, greedy=wish.greedy, max_tokens=wish.max_tokens)
    existing(run)
    with console.quiet():
        from lmkit.generation.build import decoding_words
        from lmkit.generation.settings import Settings
        from lmkit.generation.stream import TextStream
        from lmkit.inference.chat import Chat
        from lmkit.inference.generator import generator_of, own_words, start_of, written_by
        from lmkit.inference.writing import prompter
        from lmkit.run.open import open_trained

    opened = open_trained(run, console, allow_code=allow_code, dtype=dtype)
    tokenizer = opened.tokenizer
    chat = Chat(tokenizer, system=wish.system) if wish.chat or wish.system is not None else None
    ends = chat.ends if chat else ()
    if habits:
        habits.require(tokenizer.vocab_size, beside_encoder=body_of(opened.spec).kind == "encoder_decoder")
        words = {"end": tokenizer.ends} | words
        words["end"] = (*words["end"], *ends)
        if not {"beams"} & words.keys() and words.get("temperature") != 0:  # padded vocabularies have rows that stand for nothing
            nameless = (index for index in range(tokenizer.vocab_size) if not tokenizer.token(index))
            words["suppressed"] = (*words.get("suppressed", ()), *nameless)
        for key in habits.unheard:
            console.err(f"note: {habits.file}: {key} is not followed")
    spec = opened.spec
    task = spec.tasks[written_by(spec.tasks)]
    if not habits:
        usual = decoding_words(task.decode) if isinstance(task, Seq2seq) and not (wish.words or wish.greedy) else {}
        words = own_words(tokenizer, ends, start_of(opened.model)) | words | usual
    generator = generator_of(spec.tasks, opened.model, Settings(**words), context=spec.data.max_length)
    texts = list(prompts) or [""]
    if chat and not generator.model.prefix:
        ids = [chat.ids(text) for text in texts]
        shown, before = [list[int]() for _ in texts], ["" for _ in texts]
    elif generator.model.prefix:
        prefix = task.prefix if isinstance(task, Seq2seq) else ""
        ids = _read_ids(tokenizer, [prefix + text for text in texts], spec.data.max_length, console)
        shown, before = [list[int]() for _ in texts], ["" for _ in texts]
    elif isinstance(task, Seq2seq):
        ids = prompter(tokenizer, task, spec.data.max_length, wish.max_tokens or spec.data.target_length)(texts)
        shown, before = [list[int]() for _ in texts], ["" for _ in texts]
    else:
        ids = [_prompt_ids(tokenizer, text, habits, console) for text in texts]
        shown, before = ids, texts
    most = most_new(wish.max_tokens, habits, max(len(generator.model.prefix or prompt) for prompt in ids))
    copies = generator.words.texts
    streams = [TextStream(tokenizer.decode, prompt, wish.stop) for prompt in shown for _ in range(copies)]
    live = wish.stream and not wish.as_json and len(streams) == 1 and generator.words.beams == 1
    made = _write(generator, ids, streams, before[0] if live else None, most, wish, console)
    if not live:
        named = [(prompt, text) for prompt, text in zip(texts, before, strict=True) for _ in range(copies)]
        _show(named, made, streams, wish.as_json, console)
    seen = shown if generator.model.prefix else ids
    longest = max(len(seen[row // copies]) + len(one.ids) for row, one in enumerate(made))
    _say_context(generator, longest, most + max(map(len, seen)), console)
    return 0


def _write(
    generator: "Generator | BeamSearch",
    ids: list[list[int]],
    streams: "list[TextStream]",
    before: str | None,
    most: int,
    wish: Wish,
    console: Console,
) -> "list[Continuation]":
    """Lets the streams hear every text; the only one is written at once, after `before`, unless that is None."""
    from lmkit.generation.beams import BeamSearch

    live = before is not None
    if before:
        console.write(before)

    def on_token(row: int, token: int) -> bool:
        piece = streams[row].push(token)
        if live and piece:
            console.write(piece)
        return streams[row].stopped

    if not isinstance(generator, BeamSearch):
        made = generator.generate(ids, max_tokens=most, seed=wish.seed, on_token=on_token, live=live or bool(wish.stop))
        if live:
            console.write(streams[0].finish() + "\n")
        return made
    made = generator.generate(ids, max_tokens=most)
    for row, one in enumerate(made):
        heard = next((n for n, token in enumerate(one.ids, 1) if on_token(row, token)), None)
        if heard is not None:
            one.ids, one.reason = one.ids[:heard], "stop"
    return made


def _show(named: list[tuple[str, str]], made: "list[Continuation]", streams: "list[TextStream]", as_json: bool, console: Console) -> None:
    """Every text after what stands before it, or one JSON object a line; `named` holds the prompts and what stands before."""
    for (prompt, before), one, stream in zip(named, made, streams, strict=True):
        stream.finish()
        if as_json:
            answer = {"prompt": prompt, "text": stream.text, "tokens": len(one.ids), "reason": one.reason}
            console.out(json.dumps(answer | ({} if one.score is None else {"score": one.score}), ensure_ascii=False))
        else:
            console.out(before + stream.text)
            if stream is not streams[-1]:
                console.out("")


def _say_context(generator: "Generator | BeamSearch", longest: int, asked: int, console: Console) -> None:
    """A note where the model's context was too short for what was asked."""
    context, prefix = generator.model.context, len(generator.model.prefix)
    if (generator.words.beams > 1 or prefix) and longest + prefix > context and asked + prefix > context + 1:
        console.err(f"note: the model was trained on {context} tokens at once, where it ends")
    elif longest > context + 1:
        console.err(f"note: the model was trained on {context} tokens at once; it saw the last {context // 2} or more of {longest}")


def _read_ids(tokenizer: "Tokenizer", texts: Sequence[str], longest: int, console: Console) -> list[list[int]]:
    """The rows of texts that an encoder reads, cut where they are too long for it."""
    rows = tokenizer.rows(texts, max_length=longest, specials=True)
    for row, whole in zip(rows, tokenizer.rows(texts, specials=True), strict=True):
        if len(row.ids) < len(whole.ids):
            console.err(f"note: the model reads {longest} tokens at once; a prompt of {len(whole.ids)} is cut")
    return [row.ids.tolist() for row in rows]


def _prompt_ids(tokenizer: "Tokenizer", text: str, habits: "Habits | None", console: Console) -> list[int]:
    """The prompt's ids, behind what a foreign tokenizer puts before a text; an empty one is the end of a document before."""
    first = [index for index, _ in tokenizer.template.single.gaps[0]] if habits else []
    ids = tokenizer.encode([text])[0] if text else np.zeros(0, np.int32)
    unknown = int(np.sum(ids == tokenizer.unk)) if tokenizer.unk >= 0 else 0
    if unknown:
        console.err(f"note: {unknown} of the {len(ids)} tokens of the prompt are unknown to the model")
    return [*first, *ids.tolist()] or [tokenizer.require("eos", "a prompt without tokens" if text else "an empty prompt")]
