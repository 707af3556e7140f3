"""The Job of the examples, field by field, against the models of Kubernetes' own client."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.engines

JOB = Path(__file__).parents[2] / "examples" / "array_jobs" / "kubernetes.yaml"
SIMPLE: dict[str, type] = {"str": str, "int": int, "bool": bool}


def problems(value: Any, kind: str, path: str = "Job") -> list[str]:
    """What a server with strict validation would refuse."""
    if found := re.fullmatch(r"list\[(.+)\]", kind):
        return [text for number, item in enumerate(value) for text in problems(item, found[1], f"{path}[{number}]")]
    if found := re.fullmatch(r"dict\(str, (.+)\)", kind):
        return [text for name, item in value.items() for text in problems(item, found[1], f"{path}.{name}")]
    if kind in SIMPLE:
        return [] if type(value) is SIMPLE[kind] else [f"{path} is {value!r}, not {kind}"]
    model = getattr(importlib.import_module("kubernetes.client"), kind)
    fields = {name: (attribute, model.openapi_types[attribute]) for attribute, name in model.attribute_map.items()}
    said = [f"{path} has no field {name}" for name in value.keys() - fields.keys()]
    known = {name: item for name, item in value.items() if name in fields}
    try:
        model(**{fields[name][0]: item for name, item in known.items()})  # raises if a field is missing
    except ValueError as exc:
        said.append(f"{path}: {exc}")
    return said + [text for name, item in known.items() for text in problems(item, fields[name][1], f"{path}.{name}")]


def test_the_job_has_the_fields_that_kubernetes_knows() -> None:
    assert problems(yaml.safe_load(JOB.read_text()), "V1Job") == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("completionMode: Indexed", "completionsMode: Indexed", "Job.spec has no field completionsMode"),
        ("completions: 3", "completions: three", "Job.spec.completions is 'three', not int"),
        ("- name: run", "- image: run", "Job.spec.template.spec.containers[0]: Invalid value for `name`"),
        ('--of, "3"', "--of, 3", ".command[4] is 3, not str"),
    ],
)
def test_a_wrong_job_would_show(old: str, new: str, said: str) -> None:
    text = JOB.read_text()
    assert old in text
    assert any(said in found for found in problems(yaml.safe_load(text.replace(old, new)), "V1Job"))
