"""How much a file of somebody else's bucket may make this machine do: one table, with the reason beside each bound.

Honest files stay far below; what a bound refuses would take all memory, or never end.
"""

from __future__ import annotations

__all__ = [
    "COLUMNS",
    "DECODED_BYTES",
    "DECODED_RATIO",
    "FOOTER_BYTES",
    "JSON_BYTES",
    "JSON_DEPTH",
    "JSON_DIGITS",
    "JSON_VALUES",
    "NAME_BYTES",
    "PATH_BYTES",
    "ROWS",
    "SQL_PER_BYTE",
    "SQL_STEPS",
    "SQL_TEXT",
    "TEXT_PER_BYTE",
]

_MIB = 2**20

JSON_BYTES = 16 * _MIB
"""A record, a job or an outcome. One of 50,000 files takes 10 MB."""
JSON_VALUES = _MIB
"""Values in it; each takes Python some 100 bytes, though only two in the file."""
JSON_DEPTH = 80
"""How deep they nest: parameters are refused beyond 64, and lie within two more objects."""
JSON_DIGITS = 400
"""Digits of a number: the largest double has 309. Python takes quadratic time for more."""

NAME_BYTES, PATH_BYTES = 255, 1024
"""A file's name, which common disks hold, and its path within a run, which S3 holds."""

FOOTER_BYTES = 16 * _MIB
"""The footer of a sidecar, which has some 700 bytes for each series."""
COLUMNS = 100_000
"""Columns, times row groups, of a sidecar."""
ROWS = 64 * 8784 * 60
"""Rows of a sidecar: the steps of 64 years of one minute, EnergyPlus's shortest step."""
DECODED_BYTES, DECODED_RATIO = 256 * _MIB, 4096
"""What one read of a sidecar may decode to: so much, and so many bytes for each byte of the file. Zeros of a year of
minutes are stored in a 3,500th."""

SQL_STEPS, SQL_PER_BYTE = 200_000_000, 128
"""Steps of SQLite's machine for one query: so many, some two seconds, and so many for each byte of the file. A pass
over all values takes two for each byte."""
SQL_TEXT, TEXT_PER_BYTE = 64 * _MIB, 16
"""Bytes of text of one query, which names its tables and reports in each row."""
