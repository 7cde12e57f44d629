"""Any values under known keys: never a traceback, always a place (tools/fuzz.py spoils whole specs)."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmkit.errors import SpecError
from lmkit.spec_file import words
from lmkit.spec_file.load import load

SOME = settings(max_examples=100, deadline=20_000, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "spec.yaml"


def judge(path: Path, text: str) -> None:
    """Fails for anything but a spec or a SpecError with places."""
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        load(path)
    except SpecError as error:
        assert 1 <= len(error.problems) <= 20 and error.exit_code == 2
        for problem in error.problems:
            assert re.fullmatch(re.escape(str(path)) + r":(\d+):(\d+)", problem.where), problem


@SOME
@given(
    st.recursive(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(allow_nan=False, allow_infinity=False),
            st.sampled_from(["x", "kind", "full"]),
        ),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.sampled_from(sorted({key for _, cls in words.sections() for key in words.fields(cls)})), inner, max_size=5),
        ),
        max_leaves=12,
    )
)
def test_any_values_under_known_keys_never_break_it(path: Path, value: object) -> None:
    from lmkit.spec_file.plain_yaml import text_of

    base = {"name": "x", "tokenizer": value, "data": {"train": value}, "model": value, "tasks": {"a": value}, "training": value}
    judge(path, text_of(base))
    judge(path, text_of({**base, "data": value, "tasks": value, "runtime": value, "logging": value}))
