"""`lmkit generate`: continues texts with a run that has a causal_lm task, or answers them with one that has a seq2seq task."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lmkit.errors import Problem, SpecError
from lmkit.run.console import Console
from lmkit.run.source import existing

if TYPE_CHECKING:
    from lmkit.generation.beams import BeamSearch
    from lmkit.generation.decode import Generator
    from lmkit.generation.layout import Continuation
    from lmkit.generation.stream import TextStream
    from lmkit.text.tokenizer import Tokenizer

DRAWING = ("temperature", "top_k", "top_p", "min_p")
SEARCHING = ("length_penalty", "early_stopping")
ABOVE_ZERO = ("a share above 0 and at most 1", lambda x: 0 < x <= 1)
RANGES = {
    "temperature": ("a temperature of 0 or more", lambda x: 0 <= x < math.inf),
    "top_p": ABOVE_ZERO,
    "min_p": ABOVE_ZERO,
    "repetition_penalty": ("a number above 0", lambda x: 0 < x < math.inf),
    "length_penalty": ("a number", math.isfinite),
}


def generate(
    run: Path,
    *,
    prompts: Sequence[str],
    max_tokens: int,
    words: Mapping[str, Any],
    greedy: bool,
    seed: int,
    stop: Sequence[str],
    stream: bool,
    as_json: bool,
    console: Console,
    allow_code: bool = False,
) -> int:
    """Writes each prompt with what comes after it; without prompts, one text from its beginning.

    Beside an encoder, which reads the prompt, only what the decoder writes is written.

    `words` are those of generation/settings.py that were given. `stream` writes a single text as it is drawn; a search knows
    its texts at the end only. `as_json` writes one object a line: prompt, text (what was drawn), tokens (how many), reason
    (`length`, `end` of the document, or a `stop` string, which is not part of the text) and, of a search, its score.
    A drawn text longer than the run's max_length goes on from its last tokens, which a line on standard error says.
    """
    if problems := _problems(words, greedy=greedy, max_tokens=max_tokens):
        raise SpecError(*problems)
    existing(run)
    with console.quiet():
        from lmkit.generation.beams import BeamSearch
        from lmkit.generation.settings import Settings
        from lmkit.generation.stream import TextStream
        from lmkit.run.open import open_trained
        from lmkit.run.samples import generator_of

    opened = open_trained(run, console, allow_code=allow_code)
    settings = Settings(**{**words, "temperature": 0.0} if greedy or "beams" in words else words)
    generator = generator_of(opened.spec, opened.model, opened.tokenizer, settings)
    texts = list(prompts) or [""]
    answers = bool(generator.model.prefix)
    if answers:
        ids = [row.ids.tolist() for row in opened.tokenizer.rows(texts, [None] * len(texts), max_length=opened.spec.data.max_length)]
    else:
        ids = [_prompt_ids(opened.tokenizer, text, console) for text in texts]
    shown = [[] if answers else prompt for prompt in ids]
    streams = [TextStream(opened.tokenizer.decode, prompt, stop) for prompt in shown for _ in range(settings.texts)]
    live = stream and not as_json and len(streams) == 1 and not isinstance(generator, BeamSearch)
    if live and not answers:
        console.write(texts[0])

    def on_token(row: int, token: int) -> bool:
        piece = streams[row].push(token)
        if live and piece:
            console.write(piece)
        return streams[row].stopped

    if isinstance(generator, BeamSearch):
        made = generator.generate(ids, max_tokens=max_tokens)
        for row, one in enumerate(made):
            heard = next((n for n, token in enumerate(one.ids, 1) if on_token(row, token)), None)
            if heard is not None:
                one.ids, one.reason = one.ids[:heard], "stop"
    else:
        made = generator.generate(ids, max_tokens=max_tokens, seed=seed, on_token=on_token, live=live)
    if live:
        console.write(streams[0].finish() + "\n")
    else:
        before = [text for text in texts for _ in range(settings.texts)]
        _write(before, made, streams, as_json, console, after=not answers)
    longest = max(len(shown[row // settings.texts]) + len(one.ids) for row, one in enumerate(made))
    _say_context(generator, longest, max_tokens + max(map(len, shown)), console)
    return 0


def _problems(words: Mapping[str, Any], *, greedy: bool, max_tokens: int) -> list[Problem]:
    """What is wrong with the words on the command line, or with their company."""

    def problem(what: str, word: str) -> Problem:
        return Problem(what, f"--{word.replace('_', '-')}", "command line")

    found = [
        problem(f"expected {what}, got {words[word]}", word)
        for word, (what, fits) in RANGES.items()
        if word in words and not fits(words[word])
    ]
    if words.get("min_tokens", 0) > max_tokens:
        found.append(problem(f"{words['min_tokens']} are more than --max-tokens {max_tokens}", "min_tokens"))
    texts = words.get("texts", 1)
    if "beams" not in words:
        found += [problem("belongs to a search; add --beams", word) for word in SEARCHING if word in words]
        if texts > 1 and (greedy or words.get("temperature") == 0 or words.get("top_k") == 1):
            found.append(problem("the likeliest tokens give one text; draw, or add --beams", "texts"))
        return found
    found += [problem("a search draws nothing; leave it out or leave out --beams", word) for word in DRAWING if word in words]
    if texts > words["beams"]:
        found.append(problem(f"{words['beams']} beams cannot give {texts} texts", "texts"))
    return found


def _write(
    prompts: list[str], made: "list[Continuation]", streams: "list[TextStream]", as_json: bool, console: Console, *, after: bool
) -> None:
    """Every text, after its prompt unless that is left out, or one JSON object a line."""
    for prompt, one, stream in zip(prompts, made, streams, strict=True):
        stream.finish()
        if as_json:
            answer = {"prompt": prompt, "text": stream.text, "tokens": len(one.ids), "reason": one.reason}
            console.out(json.dumps(answer | ({} if one.score is None else {"score": one.score}), ensure_ascii=False))
        else:
            console.out((prompt if after else "") + stream.text)
            if stream is not streams[-1]:
                console.out("")


def _say_context(generator: "Generator | BeamSearch", longest: int, asked: int, console: Console) -> None:
    """A note where the model's context was too short for what was asked."""
    context = generator.model.context
    ends = generator.words.beams > 1 or generator.model.prefix
    if ends and longest + len(generator.model.prefix) >= context and asked > context:
        console.err(f"note: the model was trained on {context} tokens at once, where it ends")
    elif longest > context:
        console.err(f"note: the model was trained on {context} tokens at once; it saw the last {context // 2} or more of {longest}")


def _prompt_ids(tokenizer: "Tokenizer", text: str, console: Console) -> list[int]:
    """The prompt's ids; an empty one is the end of a document before, after which a new one begins."""
    if not text:
        return [tokenizer.require("eos", "an empty prompt")]
    ids = tokenizer.encode([text])[0]
    unknown = int(np.sum(ids == tokenizer.unk)) if tokenizer.unk >= 0 else 0
    if unknown:
        console.err(f"note: {unknown} of the {len(ids)} tokens of the prompt are unknown to the model")
    return ids.tolist() or [tokenizer.require("eos", "a prompt without tokens")]
