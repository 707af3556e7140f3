"""The names of a study's objects below its URL. Nothing here does I/O.

```
_study/study.json                       what holds for the whole study
_study/inputs/<sha256>.<ext>            models, weather files and every other file that a model reads, each stored once
_study/jobs/<case>.json                 what a case runs, or which run was adopted
_study/jobs/<case>.<token>.replacing    exists while a client replaces the job
_study/ok/<case>.<key>.<run>.json       the outcome of a successful case, with its summary; can be rebuilt from the run
_study/failed/<case>.<key>.<run>.json   the outcome of a case that EnergyPlus ended with an error
_study/consolidated/outcomes.json.gz    what many jobs and outcomes say; can be rebuilt
_study/consolidated/tabular.json.gz     which cases and cells the objects beside it have; can be rebuilt
_study/consolidated/<token>-<sha256>.parquet   a part of the cells of tabular reports, sorted
<case>/...                              the run, with its run.json
```

``<key>`` is the beginning of the job's hash, and ``<run>`` that of the run's id. A listing therefore shows which cases
have ended, and with which job, without reading one object. An outcome is created once, and never written over. An empty
one is void: its run was replaced or removed, and a worker that comes late cannot create it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, Self

from idfkit_fs._util.names import is_device
from idfkit_fs.errors import LocationError

__all__ = [
    "CONSOLIDATED",
    "CONSOLIDATED_CELLS",
    "CONSOLIDATED_OUTCOMES",
    "INPUTS",
    "JOBS",
    "STUDY",
    "Ended",
    "EndedRun",
    "State",
    "check_case",
    "job_path",
    "mark_path",
    "outcome_path",
    "outcomes_directory",
    "parse_jobs",
    "parse_marks",
    "parse_outcomes",
    "parse_parts",
    "part_path",
    "short_key",
]

Ended = Literal["ok", "failed"]
State = Literal["ok", "failed", "pending"]

_HOME = "_study"
STUDY = f"{_HOME}/study.json"
JOBS = f"{_HOME}/jobs"
INPUTS = f"{_HOME}/inputs"
CONSOLIDATED = f"{_HOME}/consolidated"
CONSOLIDATED_OUTCOMES = f"{CONSOLIDATED}/outcomes.json.gz"
CONSOLIDATED_CELLS = f"{CONSOLIDATED}/tabular.json.gz"
_KEY_LENGTH = 16
_RUN_LENGTH = 12
_LONGEST = 200
_OUTCOME = re.compile(
    rf"(?P<case>.+)\.(?P<key>[0-9a-f]{{{_KEY_LENGTH}}})\.(?P<run>[0-9a-f]{{{_RUN_LENGTH}}})\.json", re.DOTALL
)
_MARK = re.compile(r"(?P<case>.+)\.[0-9a-f]{32}\.replacing", re.DOTALL)
_PART = re.compile(r"(?P<part>[0-9a-f]{12}-[0-9a-f]{64})\.parquet")
# Names that need no closer look, as those of most cases: 100,000 of them are checked at each listing.
_PLAIN = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{_LONGEST - 2}}}[A-Za-z0-9_-]")
_FORBIDDEN = '/\\<>:"|?*'


def check_case(name: str) -> str:
    """Check that a name can be a directory on every backend and operating system.

    Args:
        name: A case's name.

    Returns:
        The name.

    Raises:
        LocationError: If the name is empty or longer than 200 bytes, begins or ends with a dot or a space, begins with
            ``_study``, contains a slash or another character that an operating system forbids, or is a device name
            of Windows.
        TypeError: If it is not a string.

    Examples:
        >>> check_case("wwr 0.4, Chicago #2")
        'wwr 0.4, Chicago #2'
    """
    if not isinstance(name, str):
        raise TypeError(f"a case's name must be a str, not {type(name).__name__}")
    problem = _problem_of(name)
    if problem:
        raise LocationError(f"{name!r} cannot be the name of a case: {problem}")
    return name


def _problem_of(name: str) -> str | None:
    if _PLAIN.fullmatch(name) and not is_device(name):
        return None
    bad = next((character for character in name if character in _FORBIDDEN or not character.isprintable()), None)
    checks = (
        (not name.strip(), "it is empty"),
        (bad is not None, f"it contains {bad!r}"),
        (name.startswith(".") or name != name.strip() or name.endswith("."), "it begins or ends with a dot or a space"),
        (is_device(name), "Windows reserves it for a device"),
        (name.casefold().startswith("_study"), "names that begin with _study are reserved"),
        (len(name.encode("utf-8", "replace")) > _LONGEST, f"it is longer than {_LONGEST} bytes"),
        (not unicodedata.is_normalized("NFC", name), "it is not in Unicode's form NFC, which some disks need"),
    )
    return next((reason for wrong, reason in checks if wrong), None)


def job_path(case: str) -> str:
    """The path of a case's job."""
    return f"{JOBS}/{case}.json"


class EndedRun(NamedTuple):
    """Which run of which job ended, as the name of its outcome says.

    Attributes:
        key: The beginning of the job's hash.
        run: The beginning of the run's id.
    """

    key: str
    run: str

    @classmethod
    def of(cls, key: str, run_id: str) -> Self:
        """The ending of a run by the whole hash and id."""
        return cls(short_key(key), run_id[:_RUN_LENGTH])


def mark_path(case: str, token: str) -> str:
    """The path of the mark that a client leaves while it replaces the job of a case; *token* has 32 hex digits."""
    return f"{JOBS}/{case}.{token}.replacing"


def parse_marks(paths: Iterable[str]) -> dict[str, list[str]]:
    """The marks in a listing of the jobs: their paths, by case."""
    found: dict[str, list[str]] = {}
    for path in paths:
        match = _MARK.fullmatch(path.rpartition("/")[2])
        if match:
            found.setdefault(match["case"], []).append(path)
    return found


def outcome_path(state: Ended, case: str, ending: EndedRun) -> str:
    """The path of a case's outcome."""
    return f"{outcomes_directory(state)}/{case}.{ending.key}.{ending.run}.json"


def short_key(key: str) -> str:
    """The beginning of a job's hash, as it appears in file names."""
    return key[:_KEY_LENGTH]


def outcomes_directory(state: Ended) -> str:
    """The directory of the outcomes with one state."""
    return f"{_HOME}/{state}"


def parse_jobs(paths: Iterable[str]) -> list[str]:
    """The cases in a listing of the jobs; a name that `check_case` refuses is ignored."""
    names = (path.rpartition("/")[2].removesuffix(".json") for path in paths if path.endswith(".json"))
    return [name for name in names if _problem_of(name) is None]


def part_path(part: str) -> str:
    """The path of a part of the consolidated cells."""
    return f"{CONSOLIDATED}/{part}.parquet"


def parse_parts(names: Iterable[str]) -> list[str]:
    """The parts of consolidated cells in a listing."""
    return [match["part"] for match in map(_PART.fullmatch, names) if match]


def parse_outcomes(sizes: Mapping[str, int | None]) -> dict[str, set[EndedRun]]:
    """The runs in a listing of outcomes, with the size of each, by case; void ones are left out."""
    found: dict[str, set[EndedRun]] = {}
    for name, size in sizes.items():
        match = _OUTCOME.fullmatch(name)
        if match and size != 0:
            case, key, run = match.groups()
            found.setdefault(case, set()).add(EndedRun(key, run))
    return found
