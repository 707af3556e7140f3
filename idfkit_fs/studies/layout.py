"""Where the parts of a study stand below its URL. Nothing here does I/O.

```
_study/study.json                       what holds for the whole study
_study/inputs/<sha256>.idf|.epw         models and weather files, once each
_study/jobs/<case>.json                 what to run
_study/ok/<case>.<key>.json             how a case ended well, and its summary; can be made again from the run
_study/failed/<case>.<key>.json         how EnergyPlus ended a case with an error
<case>/...                              the run, with its run.json
```

``<key>`` is the beginning of the job's hash. So a listing tells which cases are done, and what each of them was,
without reading one object.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Literal

from idfkit_fs.errors import LocationError

__all__ = [
    "INPUTS",
    "JOBS",
    "STUDY",
    "Ended",
    "State",
    "check_case",
    "counted",
    "job_path",
    "outcome_path",
    "outcomes_directory",
    "parse_jobs",
    "parse_outcomes",
    "short_key",
]

Ended = Literal["ok", "failed"]
State = Literal["ok", "failed", "missing"]

_HOME = "_study"
STUDY = f"{_HOME}/study.json"
JOBS = f"{_HOME}/jobs"
INPUTS = f"{_HOME}/inputs"
_KEY_LENGTH = 16
_LONGEST = 200
_OUTCOME = re.compile(rf"(?P<case>.+)\.(?P<key>[0-9a-f]{{{_KEY_LENGTH}}})\.json", re.DOTALL)
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_FORBIDDEN = '/\\<>:"|?*'


def counted(count: int) -> str:
    """How many cases, in words."""
    return "1 case" if count == 1 else f"{count} cases"


def check_case(name: str) -> str:
    """Refuse a name that cannot be a directory on every store and system.

    Args:
        name: A case's name.

    Returns:
        The name.

    Raises:
        LocationError: If it is empty, longer than 200 bytes, more than one segment, begins with a dot or is
            ``_study``, ends with a dot or space, or holds a character or is a name that some system forbids.
        TypeError: If it is no text.

    Examples:
        >>> check_case("wwr 0.4, Chicago #2")
        'wwr 0.4, Chicago #2'
    """
    if not isinstance(name, str):
        raise TypeError(f"a case's name must be a str, not {type(name).__name__}")
    reason = _unfit(name)
    if reason:
        raise LocationError(f"{name!r} cannot be the name of a case: {reason}")
    return name


def _unfit(name: str) -> str | None:
    bad = next((character for character in name if character in _FORBIDDEN or not character.isprintable()), None)
    checks = (
        (not name.strip(), "it is empty"),
        (bad is not None, f"it holds {bad!r}"),
        (name.startswith(".") or name != name.strip() or name.endswith("."), "no dot or space may begin or end it"),
        (_RESERVED.fullmatch(name) is not None, "Windows keeps it for a device"),
        (name.startswith("_study"), "names that begin with _study are the study's own"),
        (len(name.encode("utf-8", "replace")) > _LONGEST, f"it is longer than {_LONGEST} bytes"),
        (not unicodedata.is_normalized("NFC", name), "give it in Unicode's composed form (NFC), for some disks do"),
    )
    return next((reason for wrong, reason in checks if wrong), None)


def job_path(case: str) -> str:
    """Where a case's job stands."""
    return f"{JOBS}/{case}.json"


def outcome_path(state: Ended, case: str, key: str) -> str:
    """Where it stands how a job ended; *key* is the job's hash."""
    return f"{outcomes_directory(state)}/{case}.{short_key(key)}.json"


def short_key(key: str) -> str:
    """The beginning of a job's hash, which is part of a file's name."""
    return key[:_KEY_LENGTH]


def outcomes_directory(state: Ended) -> str:
    """Where the outcomes of one kind stand."""
    return f"{_HOME}/{state}"


def parse_jobs(paths: Iterable[str]) -> list[str]:
    """The cases of a listing of the jobs; what could not be added as a case is none."""
    names = (path.rpartition("/")[2].removesuffix(".json") for path in paths if path.endswith(".json"))
    return [name for name in names if _unfit(name) is None]


def parse_outcomes(paths: Iterable[str]) -> dict[str, set[str]]:
    """The beginnings of the keys of each case in a listing of outcomes."""
    found: dict[str, set[str]] = {}
    for path in paths:
        match = _OUTCOME.fullmatch(path.rpartition("/")[2])
        if match:
            found.setdefault(match["case"], set()).add(match["key"])
    return found
