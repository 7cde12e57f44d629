"""`lmkit generate`: continues texts with a run that has a causal_lm task."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lmkit.errors import Problem, SpecError
from lmkit.run.console import Console
from lmkit.run.directory import existing_run

if TYPE_CHECKING:
    from lmkit.text.tokenizer import Tokenizer


def generate(
    run: Path,
    *,
    prompts: Sequence[str],
    max_tokens: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    greedy: bool,
    seed: int,
    stop: Sequence[str],
    stream: bool,
    as_json: bool,
    console: Console,
) -> int:
    """Writes each prompt with what comes after it; without prompts, one text from its beginning.

    `stream` writes a single prompt's text as it is drawn. `as_json` writes one object a line: prompt, text (what was drawn),
    tokens (how many), reason (`length`, `end` of the document, or a `stop` string, which is not part of the text).
    A text longer than the run's max_length goes on from its last tokens, which a line on standard error says.
    """
    if not (math.isfinite(temperature) and temperature >= 0):
        raise SpecError(Problem(f"expected a temperature of 0 or more, got {temperature}", "--temperature", "command line"))
    if top_p is not None and not 0 < top_p <= 1:
        raise SpecError(Problem(f"expected a share above 0 and at most 1, got {top_p}", "--top-p", "command line"))
    existing_run(run)
    with console.quiet():
        from lmkit.generation.sampling import Sampling
        from lmkit.generation.stream import TextStream
        from lmkit.run.open import open_trained
        from lmkit.run.samples import generator_of

    opened = open_trained(run, console)
    sampling = Sampling(temperature=0.0 if greedy else temperature, top_k=top_k, top_p=top_p)
    generator = generator_of(opened.spec, opened.model, opened.tokenizer, sampling)
    texts = list(prompts) or [""]
    ids = [_prompt_ids(opened.tokenizer, text, console) for text in texts]
    streams = [TextStream(opened.tokenizer.decode, prompt, stop) for prompt in ids]
    live = stream and not as_json and len(texts) == 1
    if live:
        console.write(texts[0])

    def on_token(row: int, token: int) -> bool:
        piece = streams[row].push(token)
        if live and piece:
            console.write(piece)
        return streams[row].stopped

    made = generator.generate(ids, max_tokens=max_tokens, seed=seed, on_token=on_token)
    for row, (text, one) in enumerate(zip(texts, made, strict=True)):
        rest = streams[row].finish()
        if as_json:
            answer = {"prompt": text, "text": streams[row].text, "tokens": len(one.ids), "reason": one.reason}
            console.out(json.dumps(answer, ensure_ascii=False))
        elif live:
            console.write(rest + "\n")
        else:
            console.out(text + streams[row].text)
            if row + 1 < len(texts):
                console.out("")
    longest = max(len(prompt) + len(one.ids) for prompt, one in zip(ids, made, strict=True))
    if longest > generator.context:
        what = f"the model was trained on {generator.context} tokens at once; it saw the last {generator.context // 2} or more of {longest}"
        console.err(f"note: {what}")
    return 0


def _prompt_ids(tokenizer: "Tokenizer", text: str, console: Console) -> list[int]:
    """The prompt's ids; an empty one is the end of a document before, after which a new one begins."""
    if not text:
        return [tokenizer.require("eos", "an empty prompt")]
    ids = tokenizer.encode([text])[0]
    unknown = int(np.sum(ids == tokenizer.unk)) if tokenizer.unk >= 0 else 0
    if unknown:
        console.err(f"note: {unknown} of the {len(ids)} tokens of the prompt are unknown to the model")
    return ids.tolist() or [tokenizer.require("eos", "a prompt without tokens")]
