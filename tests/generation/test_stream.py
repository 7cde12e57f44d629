"""Text that may be shown: nothing of a stop string, no half characters, and joined pieces add up to the whole."""

from hypothesis import given
from hypothesis import strategies as st

from lmkit.generation.stream import TextStream


def by_bytes(ids):
    return bytes(ids).decode("utf-8", errors="replace")


def stream_of(text, stop=(), prompt="once "):
    stream = TextStream(by_bytes, list(prompt.encode()), stop)
    pieces = []
    for byte in text.encode():
        pieces.append(stream.push(byte))
        if stream.stopped:
            break
    return stream, [*pieces, stream.finish()]


@given(st.text(alphabet="ab\n唐é", max_size=12), st.lists(st.text(alphabet="ab\n唐é", min_size=1, max_size=4), max_size=3))
def test_the_text_ends_exactly_before_the_first_stop_string_to_be_completed(text, stop):
    stream, pieces = stream_of(text, stop)
    ends = [n for n in range(len(text) + 1) if any(text[:n].endswith(s) for s in stop)]
    expected = text
    if ends:
        seen = text[: ends[0]]
        expected = seen[: min(seen.find(s) for s in stop if s in seen)]
    assert "".join(pieces) == stream.text == expected
    assert stream.stopped == bool(ends)


def test_half_a_character_is_held_back():
    stream = TextStream(by_bytes, [], ())
    assert [stream.push(byte) for byte in "唐".encode()] == ["", "", "唐"]


def test_what_could_begin_a_stop_string_is_held_back_until_it_cannot():
    stream = TextStream(by_bytes, [], ("###",))
    assert [stream.push(byte) for byte in b"a##b"] == ["a", "", "", "##b"]


def test_the_prompt_is_not_part_of_the_text():
    words = {1: "un", 2: "##der", 3: "tree"}

    def decode(ids):
        return " ".join(words[i] for i in ids).replace(" ##", "")

    stream = TextStream(decode, [1], ())
    assert [stream.push(2), stream.push(3)] == ["der", " tree"]
