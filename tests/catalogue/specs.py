"""Specs that are right, each of which a test spoils in one place."""

VALID = """\
name: tiny
tokenizer: {kind: character}
data: {train: {builtin: python_reference}}
model: {kind: decoder, num_layers: 2, hidden_size: 32, num_heads: 4}
tasks: {lm: causal_lm}
training: {steps: 10, batch_size: 2, optimizer: {kind: adamw, learning_rate: 1e-3}}
"""
DECODER = """\
name: tiny
seed: 1
tokenizer: {kind: bpe, vocab_size: 500}
data:
  train: {text: corpus/*.txt}
  validation: {text: held_out.txt}
  max_length: 64
model:
  kind: decoder
  num_layers: 2
  hidden_size: 64
  num_heads: 4
  attention: {window: full}
  position: learned
  norm: layer_norm
  feed_forward: {kind: dense, activation: gelu}
  dropout: 0.1
tasks: {lm: causal_lm}
training:
  steps: 100
  batch_size: 8
  gradient_accumulation_steps: 1
  optimizer:
    kind: adamw
    learning_rate: {kind: cosine, peak: 1e-3, warmup: 10 steps}
  keep: 2
"""
ENCODER = (
    DECODER.replace("kind: decoder", "kind: encoder")
    .replace("tasks: {lm: causal_lm}", "tasks:\n  mlm: {kind: masked_lm, mask_rate: 0.15}")
    .replace("  keep: 2\n", "  early_stopping: {monitor: mlm/loss}\n")
)
CLASSIFIER = (
    ENCODER.replace("{text: corpus/*.txt}", "{csv: a.csv, columns: {text: body, label: stars}}")
    .replace("{text: held_out.txt}", "{csv: b.csv, columns: {text: body, label: stars}}")
    .replace("mlm: {kind: masked_lm, mask_rate: 0.15}", "stars: {kind: classification}")
    .replace("mlm/loss", "stars/accuracy")
)


BESIDE = (
    CLASSIFIER.replace("kind: encoder", "kind: encoder_decoder\n  start_id: 0\n  encoder: {num_layers: 3}\n  decoder: {norm: rms_norm}")
    .replace("{kind: classification}", "{kind: classification, pooling: last}")
    .replace("position: learned", "position: relative")
)  # fmt: skip
