"""`lmkit schema`: the spec language as JSON Schema, for editors."""

import json
from typing import Any

from lmkit.run.console import Console
from lmkit.spec_file.spec import RunSpec


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a spec file; rules between keys are beyond it and stay with `lmkit check`."""
    schema = RunSpec.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "lmkit spec"
    extends = {"type": "string", "description": "Another spec file, relative to this one, that this one is laid on."}
    schema["properties"] = {"extends": extends, **schema["properties"]}
    schema["anyOf"] = [{"required": ["extends"]}, {"required": schema.pop("required")}]
    return schema


def schema(*, console: Console) -> int:
    """Prints the schema."""
    console.out(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return 0
