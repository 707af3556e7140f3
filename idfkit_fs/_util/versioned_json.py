"""JSON objects with a format and a version, and a strict reader for them."""

from __future__ import annotations

import json
import math
from typing import Any, ClassVar, NoReturn, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from idfkit_fs._util.bounds import JSON_BYTES, JSON_DEPTH, JSON_DIGITS, JSON_VALUES
from idfkit_fs._util.messages import printable
from idfkit_fs._util.versions import installed_version
from idfkit_fs.errors import RecordError

__all__ = ["READ_AT_MOST", "VersionedJson", "parse_json", "problem_of_values"]

READ_AT_MOST = JSON_BYTES + 1
"""How many bytes to fetch of such an object: one more than it may have, so that a larger one shows."""


class VersionedJson(BaseModel):
    """A versioned JSON object; what is read may have been written by anybody.

    A later release may add fields to a version; other changes make another version, which older releases refuse.

    Attributes:
        format: What kind of object it is.
        version: Version of its format.
        idfkit_fs_version: Version of idfkit-fs that wrote it.
    """

    model_config = ConfigDict(frozen=True)

    kind: ClassVar[str]
    """What a person calls it, such as "the record of a run"."""

    format: str
    version: int = 1
    idfkit_fs_version: str = Field(default_factory=lambda: installed_version("idfkit-fs"))

    def to_json(self) -> bytes:
        """The bytes to store.

        Raises:
            RecordError: If there are more than a reader accepts.
        """
        data = self.model_dump_json(indent=1).encode()
        problem = _problem_of_size(data)
        if problem:
            raise RecordError(f"{self.kind} cannot be stored: {problem}; choose fewer files, or shorter parameters")
        return data

    @classmethod
    def from_json(cls, data: bytes, url: str) -> Self:
        """Read what was stored.

        Args:
            data: The bytes; of more than [READ_AT_MOST][idfkit_fs._util.versioned_json.READ_AT_MOST], the first ones.
            url: Where they were found, for messages.

        Returns:
            The object.

        Raises:
            RecordError: If they are something else, damaged, unsafe, or of a newer format.
        """
        expected = cls.model_fields["format"].default
        try:
            content = parse_json(data)
        except ValueError as exc:
            raise RecordError(f"{url} is not {cls.kind}: it is not JSON that can be used ({exc})") from exc
        if not isinstance(content, dict) or content.get("format") != expected:
            raise RecordError(f"{url} is not {cls.kind}: its format is not {expected!r}")
        _check_version(content, cls, url)
        try:
            return cls.model_validate(content)
        except ValidationError as exc:
            first = exc.errors(include_url=False, include_input=False)[0]
            field = ".".join(str(part) for part in first["loc"])
            raise RecordError(f"{url} is a damaged record: {_cut(field)}: {_cut(first['msg'])}") from exc


def _check_version(content: dict[str, Any], cls: type[VersionedJson], url: str) -> None:
    version = content.get("version")
    if type(version) is not int:
        raise RecordError(f"{url} is a damaged record: its version is not a number")
    known = cls.model_fields["version"].default
    if version > known:
        error = RecordError(
            f"{url} was written in format {version} by a newer idfkit-fs "
            f"({_cut(content.get('idfkit_fs_version', 'unknown'))}); this one reads up to {known}: "
            "pip install --upgrade idfkit-fs"
        )
        error.is_newer = True
        raise error


def _cut(text: object) -> str:
    """A text of the object as a message shows it: the object may have been written by anybody."""
    shown = printable(str(text))
    return shown if len(shown) <= 200 else f"{shown[:200]} ..."


def parse_json(data: bytes) -> Any:
    """Parse JSON that anybody may have written: in bounded time and memory, and only what has one meaning.

    Args:
        data: The bytes.

    Returns:
        The content.

    Raises:
        ValueError: If they are not JSON in UTF-8; too large, too many or nested too deeply; or if a key is given twice,
            a number is not finite or has too many digits, or a text is not Unicode.

    Examples:
        >>> parse_json(b'{"a": 1}')
        {'a': 1}
        >>> parse_json(b'{"a": 1, "a": 2}')
        Traceback (most recent call last):
            ...
        ValueError: the key 'a' is given twice
    """
    problem = _problem_of_size(data)
    if problem:
        raise ValueError(problem)
    try:
        content = json.loads(
            data.decode(),
            object_pairs_hook=_without_repetition,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_short,
        )
    except RecursionError:
        raise ValueError(f"it is nested deeper than {JSON_DEPTH} levels") from None
    _check_values(content)
    return content


def _problem_of_size(data: bytes) -> str | None:
    if len(data) > JSON_BYTES:
        return f"it is larger than {JSON_BYTES:,} bytes"
    return problem_of_values(data, JSON_VALUES)


def problem_of_values(data: bytes, most: int) -> str | None:
    """Why JSON may not be parsed, because it has too many values; None if it has not."""
    # Each value follows one of these; those within texts count too, which are few.
    if sum(map(data.count, (b",", b"[", b"{"))) > most:
        return f"it has more than {most:,} values"
    return None


def _check_values(content: Any) -> None:
    """Check the depth and the texts; without recursion, which the depth would break."""
    level, depth = [content], 0
    while level:
        if depth > JSON_DEPTH:
            raise ValueError(f"it is nested deeper than {JSON_DEPTH} levels")
        for value in level:
            if isinstance(value, str):
                value.encode()  # raises UnicodeEncodeError, a ValueError, for half a surrogate pair
        inner = [value for value in level if isinstance(value, dict | list)]
        level = [each for value in inner for each in ((*value, *value.values()) if isinstance(value, dict) else value)]
        depth += 1


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"the key {_cut(repeated)!r} is given twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


def _finite(text: str) -> float:
    number = float(text) if len(text) <= JSON_DIGITS else math.inf
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _short(text: str) -> int:
    if len(text) > JSON_DIGITS:
        raise ValueError(f"a number has more than {JSON_DIGITS} digits")
    return int(text)
