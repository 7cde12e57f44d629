"""What the fields of a given file hold: as the flag says, and which flag is offered where a field is missing."""

import pytest

from lmkit.errors import SpecError
from lmkit.run.columns import columns_of, missing

PAIRS = {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"}


def test_several_fields_may_hold_the_choices() -> None:
    assert columns_of("text=q,choices=e0,choices=e1,label=right=1") == {"text": "q", "choices": "e0, e1", "label": "right=1"}
    for wrong in ("text=a,text=b", "text", "text=", "=a", ""):
        with pytest.raises(SpecError, match=r"expected ROLE=FIELD,..., each role once \(choices for each of its fields\), got"):
            columns_of(wrong)
    with pytest.raises(SpecError, match="unknown role lable; did you mean 'label'"):
        columns_of("lable=x")


@pytest.mark.parametrize(
    ("columns", "fields", "asked", "flag"),
    [
        ({"text": "body", "label": "stars"}, ["boddy", "stars"], {}, "write --columns text=boddy"),
        ({"text": "body", "label": "stars"}, ["review", "class", "id"], {}, "write --columns text=review,label=class"),
        ({"text": "body", "label": "stars"}, ["alpha", "beta"], {}, "say which: --columns text=FIELD,label=FIELD"),
        ({"text": "mine", "label": "stars"}, ["mine", "a"], {"text": "mine"}, "write --columns text=mine,label=a"),
        ({"text": "q", "choices": "e0, e1"}, ["q", "e_0", "e_1"], {}, "write --columns choices=e_0,choices=e_1"),
        ({"text": "q", "choices": "e0, e1"}, ["q", "endings"], {}, "write --columns choices=endings"),
        (
            {"text": "q", "choices": "all"},
            ["q", "ending0", "ending1", "ending2", "label"],
            {},
            "write --columns choices=ending0,choices=ending1,choices=ending2",
        ),
        (PAIRS, ["question", "Chosen", "rejected"], {}, "write --columns prompt=question,chosen=Chosen"),
        ({**PAIRS, "system": "system"}, ["prompt", "good", "rejected"], {}, "write --columns chosen=good"),
    ],
)
def test_a_missing_field_is_said_with_the_flag_that_names_another(
    columns: dict[str, str], fields: list[str], asked: dict[str, str], flag: str
) -> None:
    said = str(missing(columns, fields, asked, "a.csv"))
    assert said.startswith("a.csv: no field '") and said.endswith(f"; {flag}")
