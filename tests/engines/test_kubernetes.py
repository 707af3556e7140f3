"""The Job of the examples, field by field, against the models of Kubernetes' own client."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

pytestmark = pytest.mark.engines

JOB = Path(__file__).parents[2] / "examples" / "array_jobs" / "kubernetes.yaml"


def refused(text: str) -> str:
    """What a server that validates strictly would say of a Job: these models forbid what they do not know."""
    try:
        importlib.import_module("kubernetes.client").V1Job.model_validate(yaml.safe_load(text))
    except ValidationError as exc:
        return str(exc)
    return ""


def test_the_job_has_the_fields_that_kubernetes_knows() -> None:
    assert refused(JOB.read_text()) == ""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("completionMode: Indexed", "completionsMode: Indexed", "spec.completionsMode"),
        ("completions: 3", "completions: three", "completions"),
        ("- name: run", "- image: run", "containers.0.name"),
        ('--of, "3"', "--of, 3", "command.4"),
    ],
)
def test_a_wrong_job_would_show(old: str, new: str, said: str) -> None:
    text = JOB.read_text()
    assert old in text
    assert said in refused(text.replace(old, new))
