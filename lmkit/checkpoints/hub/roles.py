"""The tokens that a config gives a role by their number, each a row of the vocabulary."""

from collections.abc import Collection

from lmkit.checkpoints.hub.fields import Config, wrong

NONE = -1  # what older configs write for a role that no token has
USED = {  # by the tasks that look for the token; padding has a row in every model
    "pad_token_id": None,
    "bos_token_id": {"seq2seq"},
    "eos_token_id": {"causal_lm", "seq2seq"},
}


def require_roles(config: Config, vocab_size: int, kinds: Collection[str]) -> None:
    """Raises CheckpointError where a role is of no token, or of one that a model with tasks of these kinds needs and has not."""
    for key, readers in USED.items():
        value = config.get(key)
        for token in value if isinstance(value, list) and key == "eos_token_id" else [value]:
            used = readers is None or not readers.isdisjoint(kinds)
            if token is not None and (type(token) is not int or token < NONE or (used and token >= vocab_size)):
                raise wrong(config, (key,), f"a token from 0 to {vocab_size - 1}, or {NONE} or null for none")
