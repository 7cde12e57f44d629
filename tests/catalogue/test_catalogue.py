"""The catalogue of bad input: 120 things that go wrong, what the user is told of each, and that nothing of a run that was there changes.

Every number stands in one of the tables below: what is written, the exit code, what the message holds. They are run through the
command line in this process; what needs processes of its own is named with the test that shows it, what does not apply with the reason.
"""

import gzip
import hashlib
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from lmkit.checkpoints.header import header_bytes, read_header
from lmkit.cli import main
from lmkit.errors import MachineError
from lmkit.run.directory import DONE, open_run
from lmkit.run.lock import take
from lmkit.spec_file.load import load, plain_words, resolved_text
from lmkit.text.build import train_tokenizer
from lmkit.text.export import run_files
from lmkit.text.spec import Character

ROOT = Path(__file__).parents[2]
FOLDERS = ROOT / "tests" / "checkpoints" / "hub" / "folders"

loader = importlib.util.spec_from_file_location("specs", Path(__file__).with_name("specs.py"))
assert loader is not None and loader.loader is not None
specs = importlib.util.module_from_spec(loader)
loader.loader.exec_module(specs)
VALID, DECODER, ENCODER, CLASSIFIER, BESIDE = specs.VALID, specs.DECODER, specs.ENCODER, specs.CLASSIFIER, specs.BESIDE


def but(old: str, new: str) -> str:
    assert old in VALID
    return VALID.replace(old, new, 1)


# 1-21, the text of a spec: number, text, exit code, and what stands in the message, or for code 0 in the resolved spec.
BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 60))
SEED = VALID + "seed: "
TEXT: list[tuple[int, str | bytes, int, str]] = [
    *((2, text, 2, "spec.yaml:1:1: the spec is empty; `lmkit init` writes a start") for text in ("", "# a\n", "---\n# nothing\n...\n")),
    (3, "- name: x\n", 2, "spec.yaml:1:1: a spec is a mapping (name: ..., data: ...), but this is a list"),
    (3, "\n\n3\n", 2, "but this is a single value"),
    (4, "model:\n\tkind: encoder\n", 2, "spec.yaml:2:1: a tab in the indentation; use spaces"),
    (4, "model:\n  kind: encoder\n\tnum_layers: 2\n", 2, "spec.yaml:3:1: a tab in the indentation"),
    (5, VALID + "name: again\n", 2, "spec.yaml:7:1: name: given twice, on line 1 and on line 7; keep one"),
    (5, but("num_heads: 4", "num_heads: 4, num_heads: 8"), 2, "spec.yaml:4:70: model.num_heads: given twice, on line 4 and on line 4"),
    (6, BOMB, 2, "spec.yaml:1:5: a0: anchors and aliases (&a0) are not supported"),
    (6, but("name: tiny", "name: &n tiny"), 2, "spec.yaml:1:7: name: anchors and aliases (&n) are not supported; write the value out"),
    (7, VALID + "logging: &a {samples: [*a]}\n", 2, "anchors and aliases (*a) are not supported"),
    *(
        (8, but("name: tiny", f"name: {tag} ['made']"), 2, "spec.yaml:1:7: name: tags (")
        for tag in ("!!python/object/apply:os.mkdir", "!!python/name:os.system", "!custom", "!!str", "!")
    ),
    (9, "seed: " + "[" * 2000, 2, "nested deeper than 32 levels"),
    (9, "seed: " + "{a: " * 2000, 2, "nested deeper than 32 levels"),
    (9, "seed:\n" + "".join(" " * i + "- \n" for i in range(1, 900)), 2, "nested deeper than 32 levels"),
    *((10, SEED + number, 2, "spec.yaml:7:7: seed: a number of 500") for number in ("9" * 5000, "-" + "1" * 5000, "0x" + "f" * 5000)),
    (11, b"seed: 1\nname: caf\xe9\n", 2, "spec.yaml:2:10: byte 17 (0xe9) is not UTF-8; save the file as UTF-8"),
    (11, VALID.encode("utf-16"), 2, "spec.yaml:1:1: byte 0 (0xff) is not UTF-8"),
    (11, "name: é\0b\n", 2, "spec.yaml:1:8: NUL at byte 8; remove it"),
    (11, "name: a\x07b\n", 2, "spec.yaml:1:8: control character U+0007 at byte 7; remove it"),
    (11, but("name: tiny", 'name: "a\\0b"'), 2, "the text at byte 6 holds U+0000"),
    (11, 'name: "\\ud800"\n', 2, "spec.yaml:1:10: an escape of an invalid Unicode character; write the character itself (byte 9)"),
    (11, b"name: \xed\xa0\x80\n", 2, "is not UTF-8"),
    (11, b"\xef\xbb\xbf" + VALID.encode(), 0, '"name": "tiny"'),
    (11, b"\xef\xbb\xbf" + but("name: tiny", "nam: tiny").encode(), 2, "spec.yaml:1:1: nam:"),
    (12, VALID.replace("\n", "\r\n"), 0, '"name": "tiny"'),
    (12, but("steps: 10", "steps: big").replace("\n", "\r\n"), 2, 'spec.yaml:6:19: training.steps: expected a whole number, got "big"'),
    (13, VALID + "---\n" + VALID, 2, "spec.yaml:7:1: a second document begins here"),
    (13, "%YAML 1.2\n---\n" + VALID + "...\n", 0, '"name": "tiny"'),
    (14, VALID + "<<: {seed: 1}\n", 2, "spec.yaml:7:1: merge keys are not supported; write the keys out, or use extends"),
    *(
        (15, but("1e-3", text), 0, f'"peak": {value}')
        for text, value in (("1e-4", "0.0001"), ("5E-5", "5e-05"), ("1.e-3", "0.001"), (".001", "0.001"), ("1e-04", "0.0001"))
    ),
    *(
        (16, but("reference}}", f"reference}}, packing: {word}}}"), 2, f'data.packing: expected true or false, got "{word}"; write {meant}')
        for word, meant in (("no", "false"), ("off", "false"), ("N", "false"), ("yes", "true"), ("On", "true"), ("y", "true"))
    ),
    *((16, but("tiny", word), 0, f'"name": "{word}"') for word in ("no", "off", "N", "yes", "On", "y")),
    *(
        (17, SEED + number, 2, f"spec.yaml:7:7: seed: ambiguous number {number}; write it in plain digits")
        for number in ("010", "1:30", "1_000", "-010", "190:20:30", "1_000.5", "00", "12:30:45.6")
    ),
    *((17, SEED + text, 0, f'"seed": {value}') for text, value in (("0x1F", 31), ("0o17", 15), ("0", 0), ("+7", 7))),
    (18, but("tiny", "2024-01-01"), 0, '"name": "2024-01-01"'),
    *(
        (19, but("1e-3", number), 2, f"spec.yaml:6:78: training.optimizer.learning_rate: {number} is {what}; it must be finite")
        for what, numbers in (("no usable number", (".nan", ".NaN", ".inf", "-.inf")), ("too large for a number", ("1e999", "-9e999")))
        for number in numbers
    ),
    (21, "model:\n  hidden_size 500\n  num_heads: 8\n", 2, "2:3: a colon is missing; write key: value\n  |   hidden_size 500\n  |   ^"),
    (21, "name: x\nhidden 500\n", 2, "2:1: a colon is missing; write key: value\n  | hidden 500\n  | ^"),
    (21, "model:\n   kind: encoder\n  num_layers: 3\n", 2, "3:3: this fits neither the indentation nor"),
    (21, "model:\n  kind: encoder\n   num_layers: 3\n", 2, "3:14: a colon is not possible here: the line above lacks its colon"),
    (21, 'name: "abc\nseed: 1\n', 2, '1:7: a quote that is never closed opens here\n  | name: "abc\n  |       ^'),
    (21, "name: 'abc\n", 2, "1:7: a quote that is never closed opens here"),
    (21, 'name: "abc\nlogging: {samples: ["The"]}\n', 2, "a quote that opens on line 1 ends on line 2"),
    (21, "data: {train: {text: a\nseed: 1\n", 2, "2:5: the bracket opened on line 1 is not closed before this; add '}'"),
    (21, "name: x\ndata: {train: {text:\n", 2, "2:15: the bracket opened on line 2 is not closed\n  | data: {train: {text:\n"),
    (21, "name: @x\n", 2, "1:7: text cannot begin with @; put it in quotes"),
    (21, "data: {train: {text: *.txt}}\n", 2, "1:22: anchors and aliases are not supported; put text that begins with & or * in quotes"),
]  # fmt: skip
# 22-58, the meaning of a spec: number, text of DECODER to replace, replacement, and the one line that comes.
SPOILT: list[tuple[int, str, str, str]] = [
    (22, "num_heads: 4", "num_head: 4", "12:3: model.num_head: unknown key; did you mean num_heads?"),
    (22, "seed: 1", "sed: 1", "2:1: sed: unknown key; did you mean seed?"),
    (22, "activation: gelu", "actvation: gelu", "16:31: model.feed_forward.actvation: unknown key; did you mean activation?"),
    (22, "  keep: 2", "  lr: 1e-3", "26:3: training.lr: unknown key here; learning_rate belongs under training.optimizer"),
    (
        22,
        "peak: 1e-3",
        "lr: 1e-3",
        "25:35: training.optimizer.learning_rate.lr: unknown key here; learning_rate belongs under training.optimizer",
    ),
    (22, "hidden_size: 64", "d_model: 64", "11:3: model.d_model: unknown key; did you mean hidden_size?"),
    (22, "text: corpus", "txt: corpus", "5:11: data.train.txt: unknown key; did you mean text?"),
    (23, "  num_layers: 2", "  num_layers: 2\n  window: 8", "11:3: model.window: unknown key here; it belongs under model.attention"),
    (23, "  keep: 2", "  learning_rate: 1e-3", "26:3: training.learning_rate: unknown key here; it belongs under training.optimizer"),
    (23, "seed: 1", "num_layers: 1", "2:1: num_layers: unknown key here; it belongs under model"),
    (
        23,
        "position: learned",
        "position: {kind: rotary, max_length: 64}",
        "14:28: model.position.max_length: does not go with rotary; it belongs to learned",
    ),
    (24, "  num_layers: 2\n", "", "8:1: model.num_layers: missing; add for example num_layers: 6"),
    (24, "name: tiny\n", "", "1:1: name: missing; add for example name: my-model"),
    (24, "peak: 1e-3, ", "", "25:5: training.optimizer.learning_rate.peak: missing; add for example peak: 0.0003"),
    (
        24,
        "  kind: decoder\n",
        "",
        "8:1: model: does not say which kind it is; add kind: encoder or kind: decoder or kind: encoder_decoder or from: ...",
    ),
    (24, "tokenizer: {kind: bpe, vocab_size: 500}\n", "", "1:1: tokenizer: missing; add for example tokenizer: {kind: bpe"),
    (24, "  steps: 100\n", "", "19:1: training: the length of the run is missing; add for example steps: 1000"),
    (50, "  keep: 2", "  save_every: 0 steps", "26:15: training.save_every: 0 steps never passes; write 1 steps or more, or remove this"),
    (25, "num_layers: 2", 'num_layers: "12"', '10:15: model.num_layers: expected a whole number, got "12"; write 12 without quotes'),
    (25, "num_layers: 2", "num_layers: 12.0", "10:15: model.num_layers: expected a whole number, got 12.0; write 12"),
    (25, "num_layers: 2", "num_layers: [12]", "10:15: model.num_layers: expected a whole number, got a list"),
    (25, "batch_size: 8", "batch_size: big", '21:15: training.batch_size: expected a whole number, got "big"'),
    (25, "dropout: 0.1", 'dropout: "0.1"', '17:12: model.dropout: expected a number, got "0.1"; write 0.1 without quotes'),
    (25, "attention: {window: full}", "attention: full", '13:14: model.attention: expected a mapping of keys, got "full"'),
    (25, "name: tiny", "name: 7", "1:7: name: expected text, got 7; put it in quotes"),
    (25, "warmup: 10 steps", "warmup: 10 minutes", "25:55: training.optimizer.learning_rate.warmup: expected a number of steps"),
    (
        25,
        "tokenizer: {kind: bpe, vocab_size: 500}",
        "tokenizer: wordpeace",
        "3:12: tokenizer: expected a mapping such as {kind: wordpiece, vocab_size: 8000}, got",
    ),
    (25, "tasks: {lm: causal_lm}", "tasks: causal_lm", "18:8: tasks: expected a mapping such as {lm: causal_lm}, got"),
    (
        25,
        "{kind: cosine, peak: 1e-3, warmup: 10 steps}",
        "5%",
        "25:20: training.optimizer.learning_rate: expected a number such as 0.0003 or",
    ),
    (22, "name: tiny", "Extends: base.yaml\nname: tiny", "1:1: Extends: unknown key; did you mean extends?"),
    (31, "{text: held_out.txt}", "{holdout: 5}", "6:25: data.validation.holdout: expected a number above 0 and below 1, got 5"),
    (26, "num_layers: 2", "num_layers: true", "10:15: model.num_layers: expected a whole number, got true"),
    (26, "dropout: 0.1", "dropout: false", "17:12: model.dropout: expected a number, got false"),
    (27, "num_layers: 2", "num_layers: null", "10:15: model.num_layers: null is no value here; write one"),
    (27, "num_layers: 2", "num_layers:", "10:14: model.num_layers: null is no value here; write one"),
    (27, "seed: 1", "seed: ~", "2:7: seed: null is no value here; remove the key to get its default"),
    (28, "hidden_size: 64", "hidden_size: 66", "11:16: model.hidden_size: 66 is not divisible by num_heads = 4; nearest: 64, 68"),
    (
        29,
        "num_heads: 4",
        "num_heads: 4\n  num_kv_heads: 3",
        "13:17: model.num_kv_heads: 3 does not divide num_heads = 4; possible: 1, 2, 4",
    ),
    (
        30,
        "position: learned",
        "position: rotary\n  head_dim: 7",
        "14:13: model.position: rotary turns pairs of channels, but head_dim = 7 is odd",
    ),
    (31, "num_layers: 2", "num_layers: 0", "10:15: model.num_layers: expected a number from 1 to 10000, got 0"),
    (31, "num_heads: 4", "num_heads: -4", "12:14: model.num_heads: expected a number from 1 to 10000, got -4"),
    (31, "hidden_size: 64", "hidden_size: 0", "11:16: model.hidden_size: expected a number of 1 or more, got 0"),
    (31, "batch_size: 8", "batch_size: 0", "21:15: training.batch_size: expected a number of 1 or more, got 0"),
    (31, "steps: 100", "steps: -1", "20:10: training.steps: expected a number of 1 or more, got -1"),
    (31, "window: full", "window: []", "13:23: model.attention.window: expected an item, or a list of one or more"),
    (31, "position: learned", "position: []", "14:13: model.position: expected an item, or a list of one or more"),
    (41, "vocab_size: 500", "vocab_size: 256", "3:36: tokenizer.vocab_size: 256 has no room for the 256 bytes"),
    (32, "dropout: 0.1", "dropout: -0.1", "17:12: model.dropout: expected a number from 0 to below 1, got -0.1"),
    (32, "dropout: 0.1", "dropout: 1.0", "17:12: model.dropout: expected a number from 0 to below 1, got 1.0"),
    (32, "dropout: 0.1", "dropout: 150%", "17:12: model.dropout: expected a number from 0 to below 1, got"),
    (33, "peak: 1e-3", "peak: .nan", "25:41: training.optimizer.learning_rate.peak: .nan is no usable number; it must be finite"),
    (33, "peak: 1e-3", "peak: -1", "25:41: training.optimizer.learning_rate.peak: expected a number above 0 and below 1000, got -1"),
    (33, "peak: 1e-3", "peak: 0", "25:41: training.optimizer.learning_rate.peak: expected a number above 0 and below 1000, got 0"),
    (33, "peak: 1e-3", "peak: 1e3", "25:41: training.optimizer.learning_rate.peak: expected a number above 0 and below 1000, got 1000"),
    (34, "kind: adamw", "kind: adamw\n    beta2: 1", "25:12: training.optimizer.beta2: expected a number from 0 to below 1, got 1"),
    (34, "kind: adamw", "kind: adamw\n    epsilon: 0", "25:14: training.optimizer.epsilon: expected a number above 0, got 0"),
    (
        34,
        "kind: adamw",
        "kind: adamw\n    weight_decay: -1",
        "25:19: training.optimizer.weight_decay: expected a number of 0 or more, got -1",
    ),
    (34, "kind: adamw", "kind: adamw\n    clip_norm: 0", "25:16: training.optimizer.clip_norm: expected a number above 0, got 0"),
    (
        35,
        "warmup: 10 steps",
        "warmup: 101 steps",
        "25:55: training.optimizer.learning_rate.warmup: 101 steps is longer than the run of training.steps = 100",
    ),
    (35, "warmup: 10 steps", "warmup: 150%", "25:55: training.optimizer.learning_rate.warmup: expected 0% to 100%, got"),
    (
        36,
        "kind: adamw",
        "kind: adam",
        '24:11: training.optimizer.kind: "adam" is not one of adamw, lion, adafactor, muon, sgd; did you mean adamw?',
    ),
    (36, "activation: gelu", "activation: gleu", '16:43: model.feed_forward.activation: "gleu" is not one of gelu, gelu_tanh, '),
    (36, "norm: layer_norm", "norm: batch_norm", '15:9: model.norm: "batch_norm" is not one of layer_norm, rms_norm'),
    (36, "kind: cosine", "kind: cosin", '25:27: training.optimizer.learning_rate.kind: "cosin" is not one of constant, linear, '),
    (36, "lm: causal_lm", "lm: causal", '18:13: tasks.lm: "causal" is not one of causal_lm, '),
    (
        37,
        "position: learned",
        "position: rotery",
        '14:13: model.position: "rotery" is not one of none, learned, sinusoidal, rotary, alibi, relative, disentangled, custom; did',
    ),
    (
        37,
        "position: learned",
        "position: [learned, sinusoidal]",
        "14:23: model.position.1: sinusoidal and learned both fill the embedding slot; keep one",
    ),
    (38, "window: full", "window: 0", "13:23: model.attention.window: expected full or a number of 1 or more, got 0"),
    (38, "window: full", "window: [8, -1]", "13:27: model.attention.window.1: expected full or a number of 1 or more, got -1"),
    (
        39,
        "position: learned",
        "position: {kind: learned, max_length: 32}",
        "14:41: model.position.max_length: 32 is shorter than data.max_length = 64; write that or more",
    ),
    (40, "window: full", "window: [8, 8, 8]", "13:23: model.attention.window: a pattern of 3 entries is longer than num_layers = 2"),
    (
        36,
        "norm: layer_norm",
        "norm: layer_norm\n  parallel: yes",
        '16:13: model.parallel: "yes" is not one of none, own_norms, shared_norm',
    ),
    (37, "window: full", "bias: 3", "13:21: model.attention.bias: expected true, false or a mapping of query, key, value, output"),
    (37, "window: full", "bias: {kay: true}", "13:22: model.attention.bias.kay: unknown key; did you mean key?"),
    (37, "window: full", "rotary: [default, spin]", '13:33: model.attention.rotary.1: "spin" is not one of default, none, rotary'),
    (37, "window: full", "scale: 0", "13:22: model.attention.scale: expected a number above 0, got 0"),
    (
        37,
        "position: learned",
        "position: {kind: rotary, scaling: {kind: linear}}",
        "14:28: model.position.scaling.factor: missing; add for example factor: 4.0",
    ),
    (
        37,
        "position: learned",
        "position: {kind: learned, ids: non_padding}",
        "14:34: model.position.ids: non_padding needs to know the padding token; add padding_id",
    ),
    (
        37,
        "position: learned",
        "position: [alibi, relative]",
        "14:21: model.position.1: relative and alibi both fill the bias slot; keep one",
    ),
    (
        40,
        "norm: layer_norm",
        "norm: {kind: layer_norm, placement: post}\n  parallel: shared_norm",
        "16:13: model.parallel: shared_norm goes with norm.placement: pre, not post",
    ),
    (
        45,
        "{kind: dense, activation: gelu}",
        "{kind: mixture, num_experts: 2, experts_per_token: 3}",
        "16:68: model.feed_forward.experts_per_token: 3 is more than num_experts = 2",
    ),
    (
        40,
        "{kind: dense, activation: gelu}",
        "[dense, gated, dense]",
        "16:17: model.feed_forward: a pattern of 3 entries is longer than num_layers",
    ),
    (40, "num_layers: 2", "num_layers: 2\n  layer_groups: 3", "11:17: model.layer_groups: 3 groups of 1 are more than num_layers = 2"),
    (
        46,
        "gradient_accumulation_steps: 1",
        "gradient_accumulation_steps: 3",
        "21:15: training.batch_size: 8 is not divisible by gradient_accumulation_steps = 3; nearest: 6, 9",
    ),
    (46, "  keep: 2", "runtime: {replicas: 3}", "21:15: training.batch_size: 8 is not divisible by runtime.replicas = 3; nearest: 6, 9"),
    (47, "  keep: 2", "  precision: float8", '26:14: training.precision: "float8" is not one of auto, float32, bfloat16, float16'),
    (
        49,
        "  keep: 2",
        "  early_stopping: {monitor: lm/f1}",
        "26:29: training.early_stopping.monitor: lm/f1 is not produced; choose from loss, lm",
    ),
    (50, "keep: 2", "keep: 0", "26:9: training.keep: expected a number of 1 or more, got 0"),
    (51, "num_layers: 2", "num_layers: 10k\n  head_dim: 4096", "12:16: model.hidden_size: "),
    (54, "seed: 1", "version: 2", "2:10: version: 2 is newer than this lmkit, which reads version 1; upgrade lmkit"),
    (57, "text: corpus/*.txt", "text: $HOME/*.txt", "5:17: data.train.text: environment variables are not expanded; write the path out"),
    (57, "text: corpus/*.txt", "text: [a.txt, '${DATA}/b.txt']", "5:25: data.train.text.1: environment variables are not expanded"),
    (
        58,
        "text: corpus/*.txt",
        "text: hf_" + "a1B2" * 8,
        "5:17: data.train.text: looks like a password or token; do not put secrets in specs",
    ),
    (58, "text: corpus/*.txt", "text: 'https://me:pass@host/x'", "5:17: data.train.text: looks like a password or token"),
]

# The same in other specs: number, spec, text to replace, replacement, the line.
SPOILT_OTHERS: list[tuple[int, str, str, str, str]] = [
    (43, ENCODER, "mask_rate: 0.15", "mask_rate: 0", "19:37: tasks.mlm.mask_rate: expected a number above 0 and below 1, got 0"),
    (43, ENCODER, "mask_rate: 0.15", "mask_rate: 100%", "19:37: tasks.mlm.mask_rate: expected a number above 0 and below 1, got"),
    (43, ENCODER, "kind: masked_lm, mask_rate: 0.15", "kind: causal_lm", "19:15: tasks.mlm.kind: causal_lm needs model.kind: decoder"),
    (43, DECODER, "lm: causal_lm", "lm: masked_lm", "18:9: tasks.lm.kind: masked_lm needs model.kind: encoder"),
    (44, BESIDE, "start_id: 0", "tie_embeddings: true", "10:19: model.tie_embeddings: "),
    (48, CLASSIFIER, "kind: classification", "kind: classification, labels: [a]", "19:41: tasks.stars.labels: classification needs two"),
    (48, CLASSIFIER, "kind: classification", "kind: classification, labels: [a, a]", "19:41: tasks.stars.labels: a stands twice"),
    (49, ENCODER, "  validation: {text: held_out.txt}\n", "", "26:3: training.early_stopping: there is no data.validation"),
    (
        52,
        DECODER,
        DECODER[DECODER.index("model:") : DECODER.index("tasks:")],
        "model: {from: models/x, freeze: [embedings]}\n",
        "8:34: model.freeze.0: embedings is no part of a model; did you mean embeddings?",
    ),
    (85, DECODER, "{text: held_out.txt}", "{holdout: 150%}", "6:25: data.validation.holdout: expected a number above 0 and below 1, got"),
]

# Warnings, which are errors with --strict: number, text of DECODER to replace, replacement, the line.
WARNED: list[tuple[int, str, str, str]] = [
    (33, "peak: 1e-3", "peak: 1.5", "25:41: training.optimizer.learning_rate.peak: a learning rate of 1.5 is above 1"),
    (53, "held_out.txt", "corpus/*.txt", "data.validation: corpus/*.txt is in data.train too"),
]

OVERRIDES = [
    ("training.batch_siz=3", "command line argument 1: training.batch_siz: unknown key; did you mean batch_size?"),
    ("training.batch_size=big", 'command line argument 1: training.batch_size: expected a whole number, got "big"'),
    ("training.batch_size=", "command line argument 1: training.batch_size: no value after =; write null to go back to the default"),
    ("training.batch_size", 'command line argument 1: "training.batch_size" is no override; write key.path=value'),
    ("=3", 'command line argument 1: "=3" is no override; write key.path=value'),
    ("training.steps=010", "command line argument 1: training.steps: ambiguous number 010"),
    ("training.steps=[1", "command line argument 1: training.steps: [1: "),
    ("model.hidden_size=65", "command line argument 1: model.hidden_size: 65 is not divisible by num_heads = 4; nearest: 64, 68"),
    ("model.num_heads=5", "spec.yaml:11:16: model.hidden_size: 64 is not divisible by num_heads = 5; nearest: 60, 65"),
    ("training.keep=&a 3", "command line argument 1: training.keep: anchors and aliases (&a) are not supported"),
    ("modle.num_heads=4", "command line argument 1: modle: unknown key; did you mean model?"),
]

# 59-86, data: number, the source as the spec declares it, its file, and what the message holds.
LABELLED, VALUED = "columns: {text: body, label: stars}", "columns: {text: body, value: stars}"
JSONL, CSV = f"{{jsonl: a.jsonl, {LABELLED}}}", f"{{csv: a.csv, {LABELLED}}}"
FINE = b'{"body": "fine", "stars": "good"}\n'
PACKED = gzip.compress("".join(f"line {i} {i * 7919}\n" for i in range(5000)).encode())
DATA: list[tuple[int, str, bytes, str]] = [
    (59, "{text: corpus/*.txt}", b"", "corpus/*.txt: matches no file (looked from "),
    (59, "{text: b.txt}", b"", "b.txt: no such file (looked from "),
    (60, "{text: a.txt}", b"", "a.txt: is empty"),
    (60, CSV, b"body,stars\n", "a.csv: holds no records"),
    (61, "{text: a.txt, document: line}", b" \n\n\t\n", "no document is left to learn from (3 empty)"),
    (61, JSONL, FINE, "1 rows are fewer than one batch of 2"),
    (62, "{text: a.txt}", b"good\nbad \xff here\n", "a.txt:2:5: byte 0xff is not UTF-8; convert the file, or set encoding_errors: replace"),
    (63, "{text: a.txt, max_record_bytes: 4096}", b"ok\n" + b"x" * 5000, "a.txt:2: longer than max_record_bytes = 4,096; raise it, or set"),
    (64, "{text: a.txt}", b"ok\na\0b\n", "a.txt:2:2: a NUL byte"),
    (65, JSONL, FINE + b'{"body": "x", "stars": 1\n', "a.jsonl:2:1: is no JSON"),
    (65, JSONL, FINE + b'["body"]\n', "a.jsonl:2: expected an object"),
    (65, JSONL, FINE + b'{"body": "x", "body": "y", "stars": 1}\n', "a.jsonl:2: is no JSON: key 'body' stands twice"),
    (65, JSONL, FINE + b'{"body": "x", "stars": NaN}\n', "a.jsonl:2: is no JSON: NaN is no JSON value"),
    (66, CSV, b"text,stars\nx,1\n", "a.csv:1: no column 'body'"),
    (66, CSV, b"body,stars\nx,1\na, b,1\n", "a.csv:3: 3 fields where the header has 2 (body, stars); put fields"),
    (66, CSV, b"body,stars\nx,1\nbody,stars\n", "a.csv:3: the header stands here a second time"),
    (66, CSV, b"body;stars\nx;1\n", "set delimiter: ';'"),
    (66, CSV, b'body,stars\nx,1\n"y,1\nz,2\n', "a.csv:3: a quote that opens in this row is never closed"),
    (67, JSONL, FINE + b'{"bodi": "x", "stars": 1}\n', "a.jsonl:2: body: field is missing; the record has 'bodi', 'stars'; did you"),
    (67, JSONL, FINE + b'{"body": null, "stars": 1}\n', "a.jsonl:2: body: field is null"),
    (67, JSONL, FINE + b'{"body": 7, "stars": 1}\n', "a.jsonl:2: body: expected text, got the number 7"),
    (68, JSONL, FINE + b'{"body": "x", "stars": "ugly"}\n', "ugly"),
    (69, JSONL, FINE + b'{"body": "x", "stars": -1}\n', "a.jsonl:2: stars: -1 mostly means no label; write unlabelled: skip"),
    (70, f"{{csv: a.csv, {VALUED}}}", b"body,stars\nx,1\ny,nan\n", "a.csv:3: stars: expected a finite number"),
    (70, f"{{jsonl: a.jsonl, {VALUED}}}", b'{"body": "x", "stars": 1e999}\n', "a.jsonl:1: stars: expected a finite number"),
    (74, "{text: a.txt.gz}", PACKED[: len(PACKED) // 2], "a.txt.gz: is cut off: the compressed data ends early"),
    (74, "{text: a.txt.gz}", PACKED[:-3], "a.txt.gz: is cut off"),
    (75, "{text: a.txt.gz}", gzip.compress((b"0" * 1023 + b"\n") * 70 * 2**10), "a.txt.gz: unpacks to more than 200 times its size"),
]  # fmt: skip

# 84: what is made in place of a file.
NO_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pipe": (os.mkfifo, "is no regular file (a pipe, socket or device)"),
    "a loop of links": (lambda path: path.symlink_to(path), "cannot be read"),
    "a link to nothing": (lambda path: path.symlink_to(path.with_name("nowhere")), "is a link to nothing"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "is no regular file"),
    "a folder": (Path.mkdir, "is a folder; write for example "),
}

# Accepted data, of which something is said: number, source, its file, and what `lmkit data` says.
SAID: list[tuple[int, str, bytes, str]] = [
    (80, "{text: [a.txt, '*.txt']}", b"one two\nthree four\n" * 20, "a.txt named twice; read once"),
    (83, "{text: a.txt, document: line}", b"one two\n \n\nthree four\n" * 20, "left out: 40 empty"),
    (86, "{text: a.txt, document: line}", b"one two\nthree four\n" * 20, "warning: "),
]


def spoil(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Changes the bytes of one file of a folder."""
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes())) and None


def tensors(change: Callable[[dict[str, tuple[str, np.ndarray]]], object]) -> Callable[[Path], None]:
    """Changes the tensors of a folder."""

    def spoilt(folder: Path) -> None:
        file = folder / "model.safetensors"
        found = {key: (one.dtype, one.read()) for key, one in read_header(file).items()}
        change(found)
        header = header_bytes([(key, dtype, array.shape) for key, (dtype, array) in found.items()])
        file.write_bytes(header + b"".join(array.tobytes() for _, array in found.values()))

    return spoilt


def config(**values: object) -> Callable[[Path], None]:
    return spoil("config.json", lambda raw: json.dumps(json.loads(raw) | values).encode())


NORM = "bert.encoder.layer.1.output.LayerNorm.weight"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD = "model-00002-of-00003.safetensors"

# 42 and 87-95, foreign folders: number, folder, what is done to it, what `lmkit import` says, exit code 4.
FOREIGN: list[tuple[int, str, Callable[[Path], object], str]] = [
    (42, "bert_qa", config(pad_token_id=99999), "pad_token_id: expected a token from 0 to"),
    (87, "bert_qa", spoil(WEIGHTS, lambda raw: raw[:-100]), "model.safetensors: damaged: cut off: the tensors end at byte"),
    (87, "bert_qa", spoil(WEIGHTS, lambda raw: raw[:20]), "model.safetensors: damaged: its header of"),
    (87, "bert_qa", spoil(WEIGHTS, lambda raw: raw[:8] + b"[" + raw[9:]), "model.safetensors: damaged: its header is not JSON"),
    (89, "bert_qa", tensors(lambda all: all.pop(NORM)), f"bert_qa: missing: {NORM}"),
    (89, "bert_qa", tensors(lambda all: all.update({"more": ("F32", np.zeros(1, "f4"))})), "bert_qa: not in the model: more"),
    (90, "bert_qa", tensors(lambda all: all.update({NORM: ("F32", np.zeros(47, "f4"))})), f"{NORM} is [47] in the file, the model"),
    (91, "bert_qa", config(model_type="gpt2", architectures=["GPT2LMHeadModel"]), "config.json: "),
    (92, "mistral_swa", lambda folder: sorted(folder.glob("*-of-*"))[1].unlink(), "which is absent"),
    (92, "mistral_swa", spoil(INDEX, lambda raw: raw.replace(b'"model.norm.weight"', b'"model.norm.wight"')), "model.norm.wight is in"),
    (94, "bert_qa", tensors(lambda all: all[NORM][1].fill(np.nan)), f"bert_qa: tensor {NORM} is not finite"),
    *(
        (95, "bert_qa", lambda folder, name=name: (folder / WEIGHTS).rename(folder / name), f"{name} is not loaded: it may run code")
        for name in ("pytorch_model.bin", "model.pt", "model.h5", "model.keras", "model.pkl")
    ),
]  # fmt: skip


def newest(change: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda run: change(next((run / "checkpoints").glob("step-*")))


def flipped(raw: bytes) -> bytes:
    return raw[:-40] + bytes([raw[-40] ^ 1]) + raw[-39:]


# 88-93 and 96, lmkit's own runs: number, what is done to one, what `lmkit export` says, exit code 4.
OWN: list[tuple[int, Callable[[Path], object], str]] = [
    (88, newest(spoil("model-00001.safetensors", flipped)), "does not have the sha256 that it was written with"),
    (87, newest(spoil("model-00001.safetensors", lambda raw: raw[:-9])), "model-00001.safetensors: damaged: "),
    (93, newest(lambda step: (step / "MANIFEST.json").unlink()), "MANIFEST.json is absent: no complete checkpoint"),
    (93, newest(spoil("MANIFEST.json", lambda raw: b"")), "MANIFEST.json: damaged"),
    (93, newest(spoil("MANIFEST.json", lambda raw: raw.replace(b'"step": 0', b'"step": 1'))), "MANIFEST.json: damaged"),
    (93, lambda run: shutil.rmtree(run / "checkpoints"), "has no checkpoint in it (looked for best/, checkpoints/ and step-*)"),
]

WORKERS = "tests/run/test_workers.py"

# What is shown in a test of its own, because it needs processes, faults that are put in, or devices.
ELSEWHERE: dict[int, tuple[str, str]] = {
    71: ("a token id that the vocabulary has not", "tests/data/test_cache.py::test_a_damaged_cache_is_built_again"),
    73: ("shards of another tokenizer", "tests/run/test_unchanged.py::test_another_tokenizer_is_no_matter_of_the_data"),
    78: ("data that changed since the start", "tests/run/test_unchanged.py::test_each_file_that_is_not_as_it_was_is_named_with_its_source"),
    79: ("files in another order", "tests/data/test_sources.py::test_globs_are_sorted_and_a_file_is_read_once_with_a_warning"),
    97: ("another number of processes", f"{WORKERS}::test_when_a_process_hangs_the_other_may_go_on_alone_and_then_with_another"),
    101: ("a full disk", "tests/checkpoints/test_faults.py::test_a_disk_that_refuses_at_any_call_leaves_the_previous_checkpoint"),
    108: ("a TF_CONFIG that is not whole", "tests/engine/test_cluster.py::test_a_description_that_is_not_whole_is_refused_in_a_line"),
    109: ("a port that is busy", "tests/engine/test_peers.py::test_a_port_that_is_taken_is_said"),
    110: ("a peer that never comes", "tests/engine/test_peers.py::test_who_does_not_come_is_named"),
    111: ("a peer that dies", f"{WORKERS}::test_stopped_and_then_without_its_chief_a_run_comes_to_the_bits_of_one_that_was_left_in_peace"),
    112: ("workers of another spec", "tests/run/test_crew.py::test_what_is_not_the_chiefs_is_said_in_a_line_each"),
    113: ("signals", "tests/run/test_signals.py::test_the_first_signal_asks_for_a_save_and_says_so"),
    107: ("a device without memory", "tests/run/test_cli.py::test_no_memory_is_exit_code_5_with_the_keys_to_lower"),
    114: ("a clock that jumps back", "tests/checkpoints/test_own.py::test_retention_keeps_the_newest_and_whatever_is_not_ours"),
    115: ("too few open files", "tests/run/test_cli.py::test_a_full_disk_and_too_few_open_files_are_exit_code_5"),
    118: ("a file system without locks", "tests/run/test_lock.py::test_a_file_system_without_locks_is_said_and_the_holder_still_known"),
    116: ("output that nobody reads", "tests/run/test_cli.py::test_odd_surroundings_are_no_trouble"),
    120: ("a process that was killed", "tests/checkpoints/test_faults.py::test_killed_for_real_it_is_the_old_state_or_the_new"),
}  # fmt: skip

# What lmkit cannot meet, and why.
NOT_HERE: dict[int, str] = {
    55: "no key was ever renamed",
    72: "token ids are read from no file but the cache, whose arrays are .npy with their shape, type and hash",
    76: "TFRecord is not read",
    77: "TFRecord is not read",
    81: "audio is not read",
    82: "images are not read",
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, str]:
    """A hash of every file; the lock, which says who looked last, apart."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "run.lock"]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def a_run(spec: str) -> Path:
    """A run that was saved: what there is to lose."""
    Path("had.yaml").write_text(spec)
    run = Path("runs/had")
    resolved = resolved_text(load("had.yaml").spec)
    with open_run(run, spec_text=spec, resolved_text=resolved, parse=plain_words):
        for name, data in run_files(train_tokenizer(Character(), ["a corpus of words"])).items():
            (run / name).write_bytes(data)
    (run / "checkpoints" / "step-00000005").mkdir(parents=True)
    (run / "checkpoints" / "step-00000005" / "MANIFEST.json").write_text("{}")
    (run / "metrics.jsonl").write_text('{"step": 5}\n')
    return run


def told(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    """What a command says that ends with this code: lines, never a traceback; and nothing that was there is changed by it."""
    before = contents(Path())
    heavy = "tensorflow" in sys.modules
    found = main(list(arguments))
    out, err = capsys.readouterr()
    assert found == code, out + err
    assert "Traceback" not in err
    after = contents(Path())
    assert {name: after.get(name) for name in before} == before
    if code == 2:
        assert ("tensorflow" in sys.modules) == heavy, "a wrong spec costs no import of TensorFlow"
    return out + err


@pytest.mark.parametrize(("number", "text", "code", "says"), TEXT)
def test_the_text_of_a_spec(capsys: pytest.CaptureFixture[str], number: int, text: str | bytes, code: int, says: str) -> None:
    Path("spec.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    run = str(a_run(VALID))
    arguments = ["train", "spec.yaml", "--run-dir", run] if code else ["show", "--json", "spec.yaml"]
    assert says in told(capsys, code, *arguments)
    assert not Path("made").exists()


@pytest.mark.parametrize(
    ("number", "path", "says"),
    [
        (1, "spec.yaml", "spec.yaml: cannot be read: no such file or directory; YAML files there: had.yaml"),
        (1, ".", "is a folder; name the spec file in it; YAML files there: had.yaml"),
        (1, "a\0b", "is no file name"),
        (1, "x" * 5000, "file name too long"),
        (20, "pipe.yaml", "pipe.yaml: is no regular file"),
        (20, "/dev/zero", "/dev/zero: is no regular file"),
        (20, "huge.yaml", "huge.yaml: is 10,737,418,240 bytes; a spec has at most 1,048,576"),
    ],
)
def test_what_is_no_spec_file(capsys: pytest.CaptureFixture[str], number: int, path: str, says: str) -> None:
    run = str(a_run(VALID))
    if number == 20:
        os.mkfifo("pipe.yaml")
        with open("huge.yaml", "wb") as file:
            file.truncate(10 * 2**30)
        arguments = ["check", path]  # the files of this folder are not to be read by the test either
        assert main(arguments) == 2 and says in capsys.readouterr().err
    else:
        assert says in told(capsys, 2, "train", path, "--run-dir", run)


def first_of(said: str, line: str) -> bool:
    return any(found.startswith(f"spec.yaml:{line}") or (not line[0].isdigit() and line in found) for found in said.split("\n"))


@pytest.mark.parametrize(
    ("number", "base", "old", "new", "line"), [*((n, DECODER, old, new, line) for n, old, new, line in SPOILT), *SPOILT_OTHERS]
)
def test_the_meaning_of_a_spec(capsys: pytest.CaptureFixture[str], number: int, base: str, old: str, new: str, line: str) -> None:
    assert old in base
    text = base.replace(old, new, 1)
    Path("spec.yaml").write_text(text.replace("hidden_size: 64", "hidden_size: 40M") if number == 51 else text)
    said = told(capsys, 2, "train", "spec.yaml", "--run-dir", str(a_run(VALID)))
    assert first_of(said, line), said
    assert int(said.split("\n")[-2].split(" ")[0]) <= 2, "one mistake is told once, or with what follows from it"


@pytest.mark.parametrize(("number", "old", "new", "line"), WARNED)
def test_what_is_warned_of(capsys: pytest.CaptureFixture[str], number: int, old: str, new: str, line: str) -> None:
    Path("spec.yaml").write_text(DECODER.replace(old, new))
    assert line in told(capsys, 0, "check", "spec.yaml")
    assert line in told(capsys, 2, "check", "spec.yaml", "--strict")


@pytest.mark.parametrize(("override", "line"), OVERRIDES)
def test_56_an_override_gets_the_same_checks_and_its_argument_is_named(capsys, override: str, line: str) -> None:
    Path("spec.yaml").write_text(DECODER)
    assert line in told(capsys, 2, "train", "spec.yaml", override, "--run-dir", str(a_run(VALID)))


def test_57_a_tilde_is_the_home(capsys: pytest.CaptureFixture[str]) -> None:
    Path("spec.yaml").write_text(DECODER.replace("corpus/*.txt", "~/corpus/*.txt"))
    assert str(Path.home() / "corpus/*.txt") in told(capsys, 0, "show", "--json", "spec.yaml")


def data_spec(source: str) -> str:
    """A spec that reads this source, for the task whose field it names."""
    task = "stars: {kind: classification, labels: [good, bad]}" if "label" in source else "stars: regression"
    heads = f"{{{task}}}" if "columns" in source else "{lm: causal_lm}"
    pooled = VALID.replace("kind: decoder", "kind: encoder") if "columns" in source else VALID
    return pooled.replace("{train: {builtin: python_reference}}", f"{{train: {source}, max_length: 16}}").replace("{lm: causal_lm}", heads)


@pytest.mark.parametrize(("number", "source", "raw", "says"), DATA)
def test_data(capsys: pytest.CaptureFixture[str], number: int, source: str, raw: bytes, says: str) -> None:
    name = next((word.strip(",}") for word in source.split() if word.startswith("a.")), "a.txt")
    if number != 59:
        Path(name).write_bytes(raw)
    run = a_run(data_spec(source))
    assert says in told(capsys, 3, "train", "had.yaml", "--run-dir", str(run))


@pytest.mark.parametrize("kind", NO_FILES)
def test_84_what_is_no_file_is_named_and_never_waited_for(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    make, says = NO_FILES[kind]
    make(Path("a.txt"))
    run = a_run(data_spec("{text: a.txt}"))
    before = contents(run)
    assert main(["train", "had.yaml", "--run-dir", str(run)]) == 3
    assert f"a.txt: {says}" in capsys.readouterr().err
    assert contents(run) == before


@pytest.mark.parametrize(("number", "source", "raw", "says"), SAID)
def test_data_of_which_something_is_said(capsys: pytest.CaptureFixture[str], number: int, source: str, raw: bytes, says: str) -> None:
    Path("a.txt").write_bytes(raw)
    a_run(data_spec(source).replace("max_length: 16", "validation: {text: a.txt, document: line}, max_length: 16"))
    assert says in told(capsys, 0, "data", "had.yaml")


@pytest.mark.parametrize(("number", "folder", "change", "says"), FOREIGN)
def test_foreign_folders(capsys: pytest.CaptureFixture[str], number: int, folder: str, change: Callable[[Path], object], says: str) -> None:
    shutil.copytree(FOLDERS / folder, folder, ignore=shutil.ignore_patterns("*.npz"))
    change(Path(folder))
    assert says in told(capsys, 4, "import", folder, "dest")
    assert not Path("dest").exists()


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("imported") / "run"
    assert main(["import", str(FOLDERS / "bert_qa"), str(run)]) == 0
    return run


@pytest.mark.parametrize(("number", "change", "says"), OWN)
def test_checkpoints(capsys: pytest.CaptureFixture[str], imported: Path, number: int, change: Callable[[Path], object], says: str) -> None:
    shutil.copytree(imported, "run")
    change(Path("run"))
    assert says in told(capsys, 4, "export", "run", "dest")
    assert not Path("dest").exists()


@pytest.mark.parametrize("name", ["m.pt", "m.bin", "m.pkl", "m.h5", "m.keras", "m.ckpt", "m.npz"])
def test_95_a_file_that_can_hold_code_is_not_opened(capsys: pytest.CaptureFixture[str], name: str) -> None:
    Path(name).write_bytes(b"cos\nsystem\n(S'touch made'\ntR.")
    for verb in (["import", name, "dest"], ["evaluate", name], ["predict", name, "--text", "a"]):
        assert "they may run code" in told(capsys, 4, *verb)
    assert not Path("made").exists()


def test_96_a_mistyped_run_names_the_runs_beside_it_and_is_never_begun(capsys: pytest.CaptureFixture[str]) -> None:
    a_run(VALID)
    for verb in (["evaluate", "runs/hed"], ["export", "runs/hed", "dest"], ["generate", "runs/hed", "The"]):
        assert "runs/hed: is no run directory; beside it are had" in told(capsys, 4, *verb)
    assert not Path("runs/hed").exists()


@pytest.mark.parametrize(
    ("number", "override", "line"),
    [
        (98, "training.optimizer={kind: lion, learning_rate: 1e-3}", "training.optimizer.kind: adamw -> lion"),
        (102, "training.batch_size=4", "training.batch_size: 2 -> 4"),
        (102, "model.hidden_size=64", "model.hidden_size: 32 -> 64"),
    ],
)
def test_a_run_of_another_spec(capsys: pytest.CaptureFixture[str], number: int, override: str, line: str) -> None:
    run = str(a_run(VALID))
    said = told(capsys, 2, "train", "had.yaml", override, "--run-dir", run)
    assert line in said and "--from-scratch" in said


@pytest.mark.parametrize("number", [99, 103])
def test_a_run_that_is_finished(capsys: pytest.CaptureFixture[str], number: int) -> None:
    run = a_run(VALID)
    with open_run(run, spec_text=VALID, resolved_text=(run / "resolved.yaml").read_text(), parse=plain_words) as opened:
        opened.finish(10, DONE)
    assert "runs/had is already finished at step 10: all steps are done" in told(capsys, 0, "train", "had.yaml", "--run-dir", str(run))


def test_100_a_run_directory_that_cannot_be_made(capsys: pytest.CaptureFixture[str]) -> None:
    Path("had.yaml").write_text(VALID)
    assert "/proc/x: the run directory cannot be made" in told(capsys, 5, "train", "had.yaml", "--run-dir", "/proc/x")
    assert "had.yaml: is a file, not a directory" in told(capsys, 5, "train", "had.yaml", "--run-dir", "had.yaml")


def test_104_a_folder_of_other_files(capsys: pytest.CaptureFixture[str]) -> None:
    Path("had.yaml").write_text(VALID)
    Path("thesis").mkdir()
    Path("thesis/thesis.tex").write_text("precious")
    for more in ([], ["--from-scratch"]):
        said = told(capsys, 5, "train", "had.yaml", "--run-dir", "thesis", *more)
        assert "holds files that are no run of lmkit (thesis.tex); name another --run-dir; nothing was touched" in said
    assert os.listdir("thesis") == ["thesis.tex"]


def test_105_a_run_that_another_process_trains(capsys: pytest.CaptureFixture[str]) -> None:
    run = a_run(VALID)
    lock = take(run / "run.lock")
    assert f"in use by process {os.getpid()} on " in told(capsys, 5, "train", "had.yaml", "--run-dir", str(run))
    lock.release()


def test_106_117_devices_and_a_keras_that_are_not_as_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from lmkit.engine import devices

    for name in ("list_physical_devices", "get_visible_devices"):
        monkeypatch.setattr(devices.tf.config, name, lambda kind: [f"{kind}:0", f"{kind}:1"])
    with pytest.raises(MachineError, match="4 devices are asked for and TensorFlow sees 2 GPUs"):
        devices.configure(replicas=4)
    monkeypatch.setattr(devices.keras.backend, "backend", lambda: "torch")
    with pytest.raises(MachineError, match="Keras runs on torch; unset KERAS_BACKEND or set it to tensorflow"):
        devices.configure()


def test_119_the_memory_of_a_container_counts(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run = str(a_run(VALID))
    Path("limit").write_text("100000\n")
    monkeypatch.setattr("lmkit.engine.memory.LIMITS", (Path("limit"), Path("absent")))
    Path("spec.yaml").write_text(DECODER)
    said = told(capsys, 2, "train", "spec.yaml", "--run-dir", run)
    assert "spec.yaml:8:1: model: " in said and "this machine has 100 kB" in said


def shown() -> Iterator[int]:
    """Every number that this file shows, by its tables and by the names and parameters of its tests."""
    for table in (TEXT, SPOILT, SPOILT_OTHERS, WARNED, DATA, SAID, FOREIGN, OWN):
        yield from (row[0] for row in table)
    yield from (*ELSEWHERE, *NOT_HERE)
    yield from (1, 20, 56, 57, 84, 95, 96, 98, 99, 100, 102, 103, 104, 105, 106, 117, 119)


def test_every_number_is_shown_and_every_test_that_is_named_is_there() -> None:
    assert sorted(set(shown())) == list(range(1, 121))
    for number, (_, place) in ELSEWHERE.items():
        file, name = place.split("::")
        assert f"def {name}(" in (ROOT / file).read_text(), number
