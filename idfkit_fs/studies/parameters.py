"""The parameters of a case: what a row of a DataFrame holds, as JSON values."""

from __future__ import annotations

import datetime as dt
import decimal
import math
import os
import uuid
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

__all__ = ["json_value", "parse_parameters"]

_DEPTH = 64


def parse_parameters(case: str, parameters: Mapping[str, Any], taken: Mapping[str, str]) -> dict[str, Any]:
    """Check the parameters that a user gives, and turn them into JSON values.

    Args:
        case: The case's name, for messages.
        parameters: A mapping, or a row of a DataFrame such as ``df.iloc[0]``.
        taken: The names that other columns of the summary have, with what has them.

    Returns:
        The parameters; None for a missing value.

    Raises:
        TypeError: If *parameters* has no names.
        ValueError: If a name or a value cannot be JSON, or the summary has a column of this name.

    Examples:
        >>> parse_parameters("a", {"wwr": decimal.Decimal("0.4"), "glazing": math.nan}, {})
        {'wwr': 0.4, 'glazing': None}
    """
    if not callable(getattr(parameters, "items", None)):
        raise TypeError(
            f"The parameters of case {case!r} must be a mapping or a row of a DataFrame, not "
            f"{type(parameters).__name__}; pass row._asdict() for a row of itertuples()"
        )
    found: dict[str, Any] = {}
    for given, value in parameters.items():
        try:
            name = _name(given)
        except ValueError as exc:
            raise ValueError(f"A parameter of case {case!r} has no valid name: {exc}") from exc
        if name in found:
            raise ValueError(f"Case {case!r} has two parameters {name!r}; give one of them another name")
        if name in taken:
            raise ValueError(
                f"Case {case!r}: the summary has a column {name!r} already, {taken[name]}; give the parameter another "
                "name"
            )
        try:
            found[name] = json_value(value)
        except ValueError as exc:
            raise ValueError(f"parameter {name!r} of case {case!r}: {exc}") from exc
    return found


def json_value(value: object, depth: int = 0) -> Any:
    """A value that JSON can hold. NaN, ``pandas.NA`` and ``NaT`` are missing values: None.

    Raises:
        ValueError: If JSON cannot hold the value, or it would lose what it says.
    """
    if depth > _DEPTH:
        raise ValueError("it is nested too deeply, or contains itself; pass a flat value")
    if value is None or _is_missing(value):
        return None
    for kinds, convert in _KINDS:
        if isinstance(value, kinds):
            return convert(value)
    if isinstance(value, Mapping):
        return _object(value, depth)
    if isinstance(value, list | tuple):
        return [json_value(inner, depth + 1) for inner in value]
    if getattr(value, "dtype", None) is not None:
        return _of_array(value, depth)
    raise ValueError(
        f"JSON cannot hold an object of type {type(value).__name__}; pass a number, a text, a list or a dictionary"
    )


def _of_array(value: Any, depth: int) -> Any:
    """The JSON value of a scalar, an array or a column of NumPy or pandas."""
    if value.ndim:
        return [json_value(inner, depth + 1) for inner in value]
    # As a Python object, a time of nanoseconds is the number of them.
    if value.dtype.kind == "M":
        return str(value)
    if value.dtype.kind == "m":
        return _refuse_duration(value)
    plain = float(value) if value.dtype.kind == "f" else value.item()
    if getattr(plain, "dtype", None) is not None:
        raise ValueError(f"JSON cannot hold an object of type {type(value).__name__} of NumPy; pass a number or a text")
    return json_value(plain, depth + 1)


def _is_missing(value: object) -> bool:
    """Whether a value is NaN or pandas' NA or NaT: the values that differ from themselves, or cannot be compared."""
    if type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, float | decimal.Decimal):
        return math.isnan(value)
    dtype = getattr(value, "dtype", None)
    if dtype is not None and getattr(value, "ndim", 0) == 0 and dtype.kind in "fMm":
        return bool(value != value)  # NaN and NaT
    return False


def _name(given: object) -> str:
    if isinstance(given, Enum):
        given = given.value
    plain = given.item() if hasattr(given, "item") and not isinstance(given, str) else given
    if isinstance(plain, int) and not isinstance(plain, bool):
        plain = str(plain)
    if not isinstance(plain, str):
        raise ValueError(f"{given!r} is a {type(given).__name__}; names must be texts")  # noqa: TRY004 - as for values
    if not plain:
        raise ValueError("it is empty")
    return _text(plain)


def _object(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    found = {_name(name): json_value(inner, depth + 1) for name, inner in value.items()}
    if len(found) < len(value):
        raise ValueError("two of its keys are the same text; give one of them another name")
    return found


def _text(value: str) -> str:
    text = str.__str__(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{text!r} is not a valid text: it has half a surrogate pair; decode it correctly") from None
    return text


def _integer(value: int) -> int:
    if value.bit_length() > 1024:
        raise ValueError(f"the integer has {value.bit_length()} bits; pass it as a text")
    return int(value)


def _float(value: float) -> float:
    if math.isinf(value):
        raise ValueError("infinity is not valid JSON; pass None or a text")
    return float(value)


def _decimal(value: decimal.Decimal) -> float:
    number = float(value)
    if math.isinf(number) or decimal.Decimal(repr(number)) != value:
        raise ValueError(f"{value} has more digits than a float can hold; pass it as a text or a float")
    return number


def _refuse_bytes(value: bytes) -> str:
    raise ValueError(f"JSON cannot hold {type(value).__name__}; decode them, or pass their hexadecimal text")


def _refuse_duration(_value: object) -> str:
    raise ValueError("JSON cannot hold a duration; pass its seconds, as value.total_seconds()")


_KINDS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (Enum, lambda value: json_value(value.value)),
    (bool, bool),
    (str, _text),
    (int, _integer),
    (float, _float),
    (decimal.Decimal, _decimal),
    (dt.timedelta, _refuse_duration),
    ((dt.date, dt.time), lambda value: value.isoformat()),  # datetime and pandas' Timestamp are dates
    (PurePath, str),
    (uuid.UUID, str),
    ((bytes, bytearray, memoryview), _refuse_bytes),
    (os.PathLike, lambda value: json_value(os.fspath(value))),
)
"""How values become JSON; the first kind that a value has counts: a ``StrEnum`` is an Enum, and True no number."""
