"""Which chat template a tokenizer has: that of its folder, a built-in one by name, or the text of one."""

import json
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from lmkit.errors import Problem, SpecError
from lmkit.text.chat import ChatTemplate
from lmkit.text.export import chat_templates
from lmkit.text.folder import CONFIG, TEMPLATE, TOKENS
from lmkit.text.roles import KEYS, content, named
from lmkit.text.tokenizer import Tokenizer


class Builtin(NamedTuple):
    """A template and the control tokens that it needs; all need eos_token or tokens of their own to end a turn."""

    source: str
    controls: tuple[str, ...] = ()


_TURN = "{% generation %}{{ message['content'] + END }}{% endgeneration %}"
BUILTIN = {
    "chatml": Builtin(
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
        "{% if message['role'] == 'assistant' %}" + _TURN.replace("END", "'<|im_end|>'") + "{{ '\n' }}"
        "{% else %}{{ message['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        ("<|im_start|>", "<|im_end|>"),
    ),
    "zephyr": Builtin(
        "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' }}"
        "{% if message['role'] == 'assistant' %}" + _TURN.replace("END", "eos_token") + "{{ '\n' }}"
        "{% else %}{{ message['content'] + eos_token + '\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
    ),
    "plain": Builtin(
        "{% for message in messages %}{{ '' if loop.first else '\n\n' }}"
        "{% if message['role'] == 'assistant' %}{{ '### Assistant:\n' }}" + _TURN.replace("END", "eos_token") + ""
        "{% elif message['role'] == 'system' %}{{ message['content'] }}"
        "{% else %}{{ '### ' + message['role'] | capitalize + ':\n' + message['content'] }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '\n\n### Assistant:\n' }}{% endif %}"
    ),
}
KEY = "data.chat_template"


def source_of_template(word: str) -> str:
    """The text of a template: of a built-in one by its name, of a file that ends in .jinja, or what is given itself."""
    if word in BUILTIN:
        return BUILTIN[word].source
    if word.endswith(".jinja"):
        try:
            return Path(word).expanduser().read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise SpecError(Problem(f"{word}: cannot be read: {error}", KEY)) from None
    return word


def no_template(word: str) -> str:
    """Why a word cannot be a template; empty where it may be one."""
    if word in BUILTIN or word.endswith(".jinja") or "{{" in word or "{%" in word:
        return ""
    what, close = f'"{word}" is not one of {", ".join(BUILTIN)}, no file.jinja and no Jinja text', get_close_matches(word, BUILTIN, 1)
    return f"{what}; did you mean {close[0]}?" if close else what


def give_template(tokenizer: Tokenizer, word: str) -> None:
    """Makes a template the tokenizer's own, to be kept with its files; its text is read now.

    Raises SpecError where it is none, or needs tokens that the tokenizer has not.
    """
    missing = [control for control in BUILTIN.get(word, Builtin("")).controls if not tokenizer.added.get(control)]
    if missing:
        what = f"{word} needs {' and '.join(missing)} among the special tokens, and this tokenizer has none; write plain, or Jinja text"
        raise SpecError(Problem(what, KEY))
    tokenizer.files[TEMPLATE] = source_of_template(word).encode()
    chat_of(tokenizer)


def chat_of(tokenizer: Tokenizer) -> ChatTemplate | None:
    """The template that a tokenizer has, if it has one. Raises SpecError where that cannot be read."""
    source = chat_templates(tokenizer).get("default")
    if source is None:
        return None
    special = {key: token for key, token in _special(tokenizer).items() if token}
    controls = {token: is_special for token, is_special in tokenizer.added.items() if is_special or token in source}
    return ChatTemplate(source, special=special, controls=controls)


def require_chat(tokenizer: Tokenizer) -> ChatTemplate:
    """The template that a tokenizer has. Raises SpecError where there is none."""
    chat = chat_of(tokenizer)
    if chat is None:
        what = f"the tokenizer has no chat template and the records are conversations; write {', '.join(BUILTIN)} or Jinja text"
        raise SpecError(Problem(what, KEY))
    return chat


def _special(tokenizer: Tokenizer) -> dict[str, str]:
    """Special tokens by the keys that templates use: as the files beside the tokenizer name them, else by their roles."""
    maps = [json.loads(tokenizer.files[name]) for name in (CONFIG, TOKENS) if name in tokenizer.files]
    if maps:
        return {key: content(token) or "" for key, token in named(maps).items()}
    return {key: tokenizer.token(tokenizer.roles[role]) for role, keys in KEYS.items() for key in keys if tokenizer.roles[role] >= 0}
