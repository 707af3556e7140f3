"""Models that read files, and what they read from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from idfkit import IDFDocument
from support.variants import variant

from idfkit_fs import RunResult

__all__ = ["plugged", "read_value", "reads", "write_plugin", "write_series"]


def write_series(path: Path, value: float) -> Path:
    """A year of one value, as a file for Schedule:File."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{value}\n" * 8760)
    return path


def reads(file_name: object, name: str = "From file", model: IDFDocument | None = None) -> IDFDocument:
    """A model that reports the values that it reads from a file."""
    model = model or variant()
    fields = {"column_number": 1, "rows_to_skip_at_top": 0, "number_of_hours_of_data": 8760}
    model.add("Schedule:File", name, file_name=str(file_name), schedule_type_limits_name="", **fields)
    model.add("Output:Variable", key_value=name, variable_name="Schedule Value", reporting_frequency="Hourly")
    return model


def read_value(result: RunResult, name: str = "From file") -> float:
    """The value that EnergyPlus found in the file."""
    assert result.success
    values: Any = result.timeseries("Schedule Value", keys=name.upper())
    (value,) = set(values.iloc[:, 0])
    return float(value)


def write_plugin(directory: Path, answer: int) -> Path:
    """A plugin that says which module it found, in a file of its own.

    Not every EnergyPlus comes with Python's library, so it needs nothing of it, not even ``open``.
    """
    (directory / "deep").mkdir(parents=True)
    (directory / "plugin.py").write_text(
        "import posix\nfrom deep.helper import ANSWER\n"
        "file = posix.open('answer.txt', posix.O_CREAT | posix.O_WRONLY, 0o600)\n"
        "posix.write(file, str(ANSWER).encode())\nposix.close(file)\n"
        "class Plugin:\n    def _detect_overridden(self):\n        return ['on_begin_new_environment']\n"
        "    def on_begin_new_environment(self, state):\n        return 0\n"
    )
    (directory / "deep" / "__init__.py").touch()
    (directory / "deep" / "helper.py").write_text(f"ANSWER = {answer}\n")
    return directory


def plugged(*search_paths: object) -> IDFDocument:
    """A model with that plugin."""
    model = variant()
    paths = [{"search_path": str(path)} for path in search_paths]
    if paths:
        model.add("PythonPlugin:SearchPaths", "Paths", py_search_paths=paths)
    fields = {"run_during_warmup_days": "No", "python_module_name": "plugin", "plugin_class_name": "Plugin"}
    model.add("PythonPlugin:Instance", "Plugin", **fields)
    return model
