"""Chat templates: the ids and the mask that transformers has, in templates of the kinds that models come with."""

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers

from lmkit.errors import DataError, SpecError
from lmkit.text.build import load_tokenizer
from lmkit.text.chat import ChatTemplate, Rendered
from lmkit.text.chat_templates import BUILTIN, chat_of, give_template
from lmkit.text.export import huggingface_files, run_files
from lmkit.text.tokenizer import Tokenizer

# Templates as models of these families have them; ANSWER is what the assistant writes, with and without a mark around it.
CHATML = (
    "{%- for message in messages %}\n{%- if loop.first and message.role != 'system' %}"
    "{{- '<|im_start|>system\\nYou help.<|im_end|>\\n' }}{%- endif %}"
    "{{- '<|im_start|>' + message.role + '\\n' }}{%- if message.role == 'assistant' %}"
    "ANSWER(message.content + '<|im_end|>'){%- else %}{{- message.content + '<|im_end|>' }}{%- endif %}{{- '\\n' }}\n{%- endfor %}\n"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
LLAMA_2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system = messages[0]['content'] %}"
    "{% else %}{% set loop_messages = messages %}{% set system = false %}{% endif %}"
    "{% for message in loop_messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if loop.index0 == 0 and system %}{% set content = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% else %}ANSWER(' ' + content.strip() + ' ' + eos_token){% endif %}{% endfor %}"
)
LLAMA_3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set head = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' %}"
    "{% if loop.index0 == 0 %}{% set head = bos_token + head %}{% endif %}{{ head }}"
    "{% if message['role'] == 'assistant' %}ANSWER(message['content'] | trim + '<|eot_id|>')"
    "{% else %}{{ message['content'] | trim + '<|eot_id|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}{% if message['role'] == 'assistant' %}{% set role = 'model' %}"
    "{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\\n' }}"
    "{% if role == 'model' %}ANSWER(message['content'] | trim + '<end_of_turn>')"
    "{% else %}{{ message['content'] | trim + '<end_of_turn>' }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
ZEPHYR = (
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'system' %}\n{{ '<|system|>\\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\\n' }}ANSWER(message['content'] + eos_token){{ '\\n' }}{% endif %}\n"
    "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
)
MISTRAL = (
    "{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] %}{%- set rest = messages[1:] %}"
    "{%- else %}{%- set rest = messages %}{%- endif %}{{- bos_token }}{%- for message in rest %}"
    "{%- if message['role'] == 'user' %}{%- if loop.first and system is defined %}"
    "{{- '[INST] ' + system + '\\n\\n' + message['content'] + '[/INST]' }}{%- else %}{{- '[INST] ' + message['content'] + '[/INST]' }}"
    "{%- endif %}{%- else %}ANSWER(' ' + message['content'] | trim + eos_token){%- endif %}{%- endfor %}"
)
TEMPLATES = {"chatml": CHATML, "llama-2": LLAMA_2, "llama-3": LLAMA_3, "gemma": GEMMA, "zephyr": ZEPHYR, "mistral": MISTRAL}
CONTROLS = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
CONTROLS += ["<start_of_turn>", "<end_of_turn>"]
USER, ASSISTANT, SYSTEM = "user", "assistant", "system"


def talk(*turns: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in turns]


CHATS = [
    talk((USER, "Name a colour."), (ASSISTANT, "Blue, or green.")),
    talk((USER, " Was ist 2+2?\n"), (ASSISTANT, " 4"), (USER, "Sure? 你好"), (ASSISTANT, "Yes.\n\n- really ")),
    talk((SYSTEM, "Be brief."), (USER, "Why?"), (ASSISTANT, "Because."), (USER, "And?")),
]


def marked(template: str, *, mark: bool) -> str:
    """The template with its ANSWER(...) written out."""
    head, *rest = template.split("ANSWER(")
    for part in rest:
        depth, end = 1, 0
        while depth:
            depth += {"(": 1, ")": -1}.get(part[end], 0)
            end += 1
        inner = "{{- " + part[: end - 1] + " }}" if "{%-" in template else "{{ " + part[: end - 1] + " }}"
        head += ("{% generation %}" + inner + "{% endgeneration %}" if mark else inner) + part[end:]
    return head


@pytest.fixture(scope="module", params=["bytes", "metaspace"])
def folder(request: Any, tmp_path_factory: Any) -> Path:
    """A tokenizer whose control tokens are those of all the templates."""
    backend = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=False))
    if request.param == "bytes":
        backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        backend.pre_tokenizer, backend.decoder = pre_tokenizers.Metaspace(prepend_scheme="first"), decoders.Metaspace()
        alphabet = []
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>", *CONTROLS], initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator([message["content"] for chat in CHATS for message in chat] + ["<|im_end|> user assistant [INST]"], trainer)
    backend.add_tokens([AddedToken("<think>", special=False, normalized=False)])
    path = tmp_path_factory.mktemp(request.param)
    backend.save(str(path / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    return path


def ours(folder: Path, template: str) -> tuple[Tokenizer, ChatTemplate]:
    tokenizer = load_tokenizer(folder)
    give_template(tokenizer, template)
    chat = chat_of(tokenizer)
    assert chat is not None
    return tokenizer, chat


def encoded(tokenizer: Tokenizer, rendered: Rendered) -> tuple[list[int], list[int]]:
    """Ids of a conversation, and 1 for each that touches what is learned."""
    ids, mask, at = [], [], 0
    for part, (found, spans) in zip(rendered.parts, tokenizer.spans(rendered.parts, specials=True), strict=True):
        ids += found.tolist()
        mask += [int(any(a + at < end and b + at > begin for begin, end in rendered.learned)) for a, b in spans]
        at += len(part)
    return ids, mask


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("number", range(len(CHATS)))
def test_ids_and_mask_are_those_of_transformers(folder: Path, name: str, number: int) -> None:
    AutoTokenizer = pytest.importorskip("transformers").AutoTokenizer
    chat, template = CHATS[number], marked(TEMPLATES[name], mark=True)
    tokenizer, found = ours(folder, template)
    theirs = AutoTokenizer.from_pretrained(folder)
    if name == "gemma" and chat[0]["role"] == SYSTEM:
        with pytest.raises(DataError, match="System role not supported"):
            found.training(chat, "responses", "a.jsonl:1")
        return
    expected = theirs.apply_chat_template(chat, chat_template=template, return_dict=True, return_assistant_tokens_mask=True)
    assert encoded(tokenizer, found.training(chat, "responses")) == (expected["input_ids"], expected["assistant_masks"])
    if chat[-1]["role"] == USER:
        asked = theirs.apply_chat_template(chat, chat_template=template, add_generation_prompt=True)["input_ids"]
        assert encoded(tokenizer, found.prompt(chat))[0] == asked


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("number", range(len(CHATS)))
def test_turns_are_found_without_marks_where_the_template_writes_them_once(folder: Path, name: str, number: int) -> None:
    chat = CHATS[number]
    if name == "gemma" and chat[0]["role"] == SYSTEM:
        return
    tokenizer, found = ours(folder, marked(TEMPLATES[name], mark=True))
    _, plain = ours(folder, marked(TEMPLATES[name], mark=False))
    for train_on in ("responses", "last"):
        expected, made = (encoded(tokenizer, each.training(chat, train_on)) for each in (found, plain))
        assert made == expected


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_message_forges_no_control_token(folder: Path, name: str) -> None:
    tokenizer, found = ours(folder, marked(TEMPLATES[name], mark=True))
    forged = "x".join([*CONTROLS, "<|im_<|im_end|>end|>", "<s><s>"])
    controls = {index for index in tokenizer.specials if tokenizer.token(index) != "<unk>"}
    honest, hostile = (talk((USER, "a" + text + "b"), (ASSISTANT, "a" + text + "b")) for text in ("", forged))
    expected, made = ([i for i in encoded(tokenizer, found.training(chat, "responses"))[0] if i in controls] for chat in (honest, hostile))
    assert made == expected
    assert found.training(hostile, "responses").text.count(forged) == 2


def test_the_assistant_alone_writes_controls_that_are_not_special(folder: Path) -> None:
    AutoTokenizer = pytest.importorskip("transformers").AutoTokenizer
    template = marked(CHATML, mark=True).replace("<|im_start|>assistant\\n'", "<|im_start|>assistant\\n<think>'")
    tokenizer, found = ours(folder, template)
    chat = talk((USER, "Why?"), (ASSISTANT, "<think>Hm.<think> Because."))
    theirs = AutoTokenizer.from_pretrained(folder)
    expected = theirs.apply_chat_template(chat, chat_template=template, return_dict=True, return_assistant_tokens_mask=True)
    assert encoded(tokenizer, found.training(chat, "responses")) == (expected["input_ids"], expected["assistant_masks"])
    thought = theirs.convert_tokens_to_ids("<think>")
    assert expected["input_ids"].count(thought) == 2
    assert thought not in encoded(tokenizer, found.training(talk((USER, "<think>"), (ASSISTANT, "No.")), "responses"))[0]


def test_a_template_that_rewrites_earlier_turns_is_refused_unless_the_last_alone_is_learned(folder: Path) -> None:
    answer = "{{ m.role[0] + ('!' if m.role == 'assistant' and not loop.last else '') }}: {{ m.content }}"
    template = "{% for m in messages %}" + answer + "\n{% endfor %}{% if add_generation_prompt %}a: {% endif %}"
    _, chat = ours(folder, template)
    with pytest.raises(DataError, match=r"a\.jsonl:3: messages: the template writes the turns before number 2 otherwise"):
        chat.training(CHATS[1], "responses", "a.jsonl:3")
    made = chat.training(CHATS[1], "last")
    assert [made.text[begin:end] for begin, end in made.learned] == ["Yes.\n\n- really \n"]


def test_what_is_learned_reaches_the_end_of_a_document_where_no_token_ends_the_turn(folder: Path) -> None:
    _, chat = ours(
        folder, "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
    )
    made = chat.training(CHATS[0], "responses")
    assert made.learned == ((len("user: Name a colour.\nassistant: "), len(made.text) + 1),)
    assert chat.training(CHATS[0], "all").learned == ((0, len(made.text) + 1),)
    assert chat.turn_end is None


@pytest.mark.parametrize(
    ("name", "end"), [("chatml", "<|im_end|>"), ("llama-2", "</s>"), ("llama-3", "<|eot_id|>"), ("gemma", "<end_of_turn>")]
)
def test_the_end_of_a_turn_is_the_control_token_behind_it(folder: Path, name: str, end: str) -> None:
    assert ours(folder, marked(TEMPLATES[name], mark=True))[1].turn_end == end


@pytest.mark.parametrize("name", BUILTIN)
def test_built_in_templates_learn_each_answer_with_its_end(folder: Path, name: str) -> None:
    _, chat = ours(folder, name)
    made = chat.training(CHATS[1], "responses")
    assert [made.text[begin:end] for begin, end in made.learned] == [f" 4{chat.turn_end}", f"Yes.\n\n- really {chat.turn_end}"]
    assert made.text.startswith(chat.prompt(CHATS[1][:1]).text)
    assert chat.training(CHATS[1], "last").learned == made.learned[1:]


def test_a_run_and_a_folder_keep_the_template_that_was_given(folder: Path, tmp_path: Path) -> None:
    tokenizer, chat = ours(folder, "chatml")
    for files in (run_files(tokenizer), huggingface_files(tokenizer)):
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
        again = chat_of(load_tokenizer(tmp_path))
        assert again is not None and (again.source, again.special) == (chat.source, chat.special)


@pytest.mark.parametrize(
    ("template", "what"),
    [
        ("{% for m in messages %}", "cannot be read, line 1"),
        ("nowhere.jinja", "cannot be read"),
    ],
)
def test_what_is_no_template_is_refused(folder: Path, template: str, what: str) -> None:
    with pytest.raises(SpecError, match=what):
        ours(folder, template)


@pytest.mark.parametrize(
    "template", ["{{ messages.__class__.__mro__ }}", "{{ messages.append(1) }}", "{% include 'x' %}", "{{ nothing.here }}"]
)
def test_a_template_can_do_no_more_than_write(folder: Path, template: str) -> None:
    with pytest.raises(DataError, match="the chat template refuses this"):
        ours(folder, template)[1].prompt(CHATS[0])
