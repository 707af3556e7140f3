"""How much a file of another person's bucket may make this machine do: one table, with the reason beside each bound.

Honest files stay far below; what a bound refuses would take all memory, or never end.
"""

from __future__ import annotations

__all__ = [
    "CONSOLIDATED_BYTES",
    "CONSOLIDATED_TEXT",
    "CONSOLIDATED_VALUES",
    "DECODED_BYTES",
    "DECODED_RATIO",
    "FOOTER_BYTES",
    "FOOTER_PER_STRUCTURE",
    "FOOTER_UNCHECKED",
    "JSON_BYTES",
    "JSON_DEPTH",
    "JSON_DIGITS",
    "JSON_VALUES",
    "NAME_BYTES",
    "PATH_BYTES",
    "ROWS",
    "SQL_BYTES_PER_ROW",
    "SQL_STEPS",
    "SQL_STEPS_PER_BYTE",
    "SQL_TEXT",
    "SQL_TEXT_PER_BYTE",
    "SQL_VALUE",
    "TABULAR_BYTES",
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
FOOTER_UNCHECKED, FOOTER_PER_STRUCTURE = _MIB, 32
"""A larger footer is looked through before pyarrow parses it, which takes 700 bytes for a structure of 3. Ours have 75
bytes for each; fewer than these are refused."""
ROWS = 64 * 8784 * 60
"""Rows of a sidecar: the steps of 64 years of one minute, EnergyPlus's shortest step."""
DECODED_BYTES, DECODED_RATIO = 256 * _MIB, 256
"""What one read of a sidecar may decode to: so much, and so many bytes for each byte of the file. Results of a year are
stored in a third to a twentieth; more than that are constants."""
TABULAR_BYTES = 64 * _MIB
"""The sidecar of tabular reports, which is read whole; that of a large model has 0.1 MB."""

CONSOLIDATED_BYTES = 256 * _MIB
"""A consolidated object, which is read whole. That of the outcomes of 100,000 cases has 15 MB."""
CONSOLIDATED_TEXT, CONSOLIDATED_VALUES = 512 * _MIB, 16 * _MIB
"""What one of JSON may become: its text, and the values in it. Those of 100,000 cases are 70 MB and 5 million. More is
not written, and the outcomes are read one by one."""

SQL_STEPS, SQL_STEPS_PER_BYTE = 10_000_000, 8
"""Steps of SQLite's machine for one query: so many, which take 0.2 s, and so many for each byte of the file.
A pass over all values takes one for each byte."""
SQL_TEXT, SQL_TEXT_PER_BYTE = 64 * _MIB, 16
"""Bytes of text that one query gives, which may repeat the names of its reports in each row."""
SQL_VALUE = 16 * _MIB
"""Bytes of one value, and of one row."""
SQL_BYTES_PER_ROW = 4
"""A row of values takes more."""
