"""Chinese and Japanese are written without spaces: each character counts as a word."""

import re

UNSPACED = re.compile("([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f])")


def apart(text: str) -> str:
    """The text with spaces around each character of those scripts; other text is left as it is."""
    return UNSPACED.sub(r" \1 ", text)
