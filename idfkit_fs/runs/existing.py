"""A run that EnergyPlus left somewhere without a record: its outputs, and what they say about it."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._outputs.ending import Ending, read_ending
from idfkit_fs._outputs.naming import output_name, outputs_of, prefix_of, stem_of, stems_in
from idfkit_fs._outputs.sqlite_file import connect
from idfkit_fs._util.files import digest_of
from idfkit_fs.errors import RunNotFoundError, UnfinishedRunError
from idfkit_fs.runs.record import RunRecord
from idfkit_fs.runs.transfer import UnrecordedFile

__all__ = ["Existing", "Outputs", "find_existing", "find_outputs"]

_HEADER = re.compile(
    r"EnergyPlus[^,\n]*?[,\s]\s*(?:Version\s+)?(?P<version>\d+\.\d+(?:\.\d+)?)[^,\n]*,\s*"
    r"YMD=\s*(?P<started>\d{4}\.\d{1,2}\.\d{1,2}\s+\d{1,2}:\d{2})"
)
_ELAPSED = re.compile(r"Elapsed Time=\s*(\d+)\s*hr\s*(\d+)\s*min\s*([\d.]+)\s*sec")
_LOCATION = re.compile(r"^\s*Site:Location\s*,([^,\n]*),", re.MULTILINE)
_HEADER_BYTES = 4096
_SHOWN = 10


@dataclass(frozen=True)
class Outputs:
    """The outputs of one run, by their names.

    Attributes:
        prefix: The prefix of their names.
        names: Their names.
        others: The names of the outputs of other runs in the same directory.
        everything: The names of all files that lie directly in it.
    """

    prefix: str
    names: tuple[str, ...]
    others: frozenset[str] = frozenset()
    everything: tuple[str, ...] = ()

    @property
    def with_journals(self) -> list[str]:
        """The outputs, and the files that show that a database was still being written."""
        return [name for name in self.everything if name in self.names or name.endswith(("-journal", "-wal"))]

    def name(self, suffix: str) -> str | None:
        """The output with a suffix; None if none exists."""
        return output_name(self.names, self.prefix, suffix)


@dataclass(frozen=True)
class Existing:
    """A run without a record.

    Attributes:
        fs: A filesystem with the run's directory as its root.
        outputs: Its outputs.
        ending: How it ended.
        facts: Fields of the record that the outputs give.
    """

    fs: FsspecFileSystem
    outputs: Outputs
    ending: Ending
    facts: dict[str, Any] = field(default_factory=dict)
    _files: dict[str, UnrecordedFile] = field(default_factory=dict)

    def file(self, name: str) -> UnrecordedFile:
        """A file of the directory; its hash is computed once, however often it is asked for."""
        return self._files.setdefault(name, UnrecordedFile(self.fs, name))

    def record(self) -> RunRecord:
        """The record, without files; what the outputs do not say is unknown.

        Raises:
            UnfinishedRunError: If the outputs are cut.
        """
        if self.ending.cut:
            text = f"This run is unfinished: {self.ending.message}; nothing was published"
            raise UnfinishedRunError.for_url(self.fs.url(), text)
        known = {
            "exit_code": None,
            "runtime_seconds": None,
            "message": self.ending.message,
            "output_prefix": self.outputs.prefix,
        }
        return RunRecord(success=self.ending.success, **{**known, **self.facts})


def find_outputs(fs: FsspecFileSystem, output_prefix: str | None = None) -> Outputs | None:
    """Find the outputs of the run in a directory.

    Args:
        fs: A filesystem with the directory as its root.
        output_prefix: The prefix of the run's outputs, to choose one of several; None for the only one, or for the only
            one that EnergyPlus finished.

    Returns:
        The outputs; None if the directory has none.

    Raises:
        RunNotFoundError: If the directory has several runs and *output_prefix* is None, or none with this prefix.
        StoreError: If the store failed, refused access, or did not answer.
    """
    everything = fs.glob("", "*")
    stems = stems_in(everything)
    if not stems and output_prefix is None:
        return None
    stem = _choose(fs, everything, stems, output_prefix)
    others = {name for other in stems if other != stem for name in outputs_of(everything, other, stems)}
    names = outputs_of(everything, stem, stems)
    return Outputs(prefix_of(stem, stems), tuple(names), frozenset(others.difference(names)), tuple(everything))


def find_existing(fs: FsspecFileSystem, output_prefix: str | None = None, **facts: Any) -> Existing | None:
    """Find the run in a directory, and read how it ended.

    Args:
        fs: A filesystem with the directory as its root.
        output_prefix: As in [find_outputs][idfkit_fs.runs.existing.find_outputs].
        **facts: Fields of the record that are known already.

    Returns:
        The run; None if the directory has no outputs of EnergyPlus.

    Raises:
        RunNotFoundError: As in [find_outputs][idfkit_fs.runs.existing.find_outputs].
        StoreError: If the store failed, refused access, or did not answer.
    """
    outputs = find_outputs(fs, output_prefix)
    if outputs is None:
        return None
    printed = "\n".join(facts[name] for name in ("stdout", "stderr") if name in facts) or None
    files = _StoredFiles(fs, outputs.with_journals)
    ending = read_ending(files, outputs.prefix, facts.get("exit_code"), printed)
    return Existing(fs, outputs, ending, {**_facts_of(files, outputs), **facts})


def _choose(fs: FsspecFileSystem, everything: Sequence[str], stems: Sequence[str], output_prefix: str | None) -> str:
    """The stem of the run that is meant."""
    if output_prefix is not None:
        stem = stem_of(output_prefix, stems)
        if stem is None:
            there = f"the prefixes here are {_listed(stems)}" if stems else "there are no EnergyPlus outputs here"
            text = f"No run with output_prefix={output_prefix!r} exists here: {there}"
            raise RunNotFoundError.for_url(fs.url(), text)
        return stem
    if len(stems) == 1:
        return stems[0]

    def is_finished(stem: str) -> bool:
        outputs = Outputs(prefix_of(stem, stems), tuple(outputs_of(everything, stem, stems)), everything=(*everything,))
        return not read_ending(_StoredFiles(fs, outputs.with_journals), outputs.prefix).cut

    finished = [stem for stem in stems if is_finished(stem)]
    if len(finished) == 1:
        return finished[0]
    several = _listed([prefix_of(stem, stems) for stem in finished or stems])
    none = "" if finished else ", none of them finished"
    text = f"Several runs exist in this directory{none}: {several}; choose one with output_prefix="
    raise RunNotFoundError.for_url(fs.url(), text)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


@dataclass(frozen=True)
class _StoredFiles:
    """Files of a directory in a store, of which only what is needed is fetched, and each text once."""

    fs: FsspecFileSystem
    names: list[str]
    _read: dict[str, bytes] = field(default_factory=dict)

    def read_bytes(self, name: str) -> bytes:
        if name not in self._read:
            self._read[name] = self.fs.read_bytes(name)
        return self._read[name]

    def text(self, name: str) -> str:
        return self.read_bytes(name).decode("latin-1")

    def read_tail(self, name: str, size: int) -> bytes:
        with self.fs.open(name) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return bytes(file.read())

    def local_copy(self, name: str) -> AbstractContextManager[Path]:
        return self.fs.local_copy(name)


def _facts_of(files: _StoredFiles, outputs: Outputs) -> dict[str, Any]:
    """What the outputs say of the run, as fields of its record."""
    facts: dict[str, Any] = {}
    header = _HEADER.search(_header_of(files, outputs))
    if header:
        facts["energyplus_version"] = header["version"]
        with contextlib.suppress(ValueError):
            facts["started_local"] = datetime.strptime(" ".join(header["started"].split()), "%Y.%m.%d %H:%M")
    for suffix in (".end", ".err"):
        name = outputs.name(suffix)
        elapsed = _ELAPSED.findall(files.text(name)) if name else []
        if elapsed:
            hours, minutes, seconds = elapsed[-1]
            facts["runtime_seconds"] = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
            break
    weather = _weather_of(files, outputs)
    if weather:
        facts["weather_sha256"] = weather
    return facts


def _header_of(files: _StoredFiles, outputs: Outputs) -> str:
    """The line with version and date that EnergyPlus writes first; from the database if no text has it."""
    name = outputs.name(".err")
    if name:
        return files.text(name)[:_HEADER_BYTES]
    name = outputs.name(".eso") or outputs.name(".mtr")
    if name:
        size = files.fs.version(name).size or 0
        return files.fs.read_ranges(name, [(0, min(_HEADER_BYTES, size))])[0].decode("latin-1")
    name = outputs.name(".sql")
    if name:
        with (
            files.local_copy(name) as local,
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(connect(local)) as database,
        ):
            return str(next(database.execute("SELECT EnergyPlusVersion FROM Simulations"), ("",))[0])
    return ""


def _weather_of(files: _StoredFiles, outputs: Outputs) -> str | None:
    """The hash of the weather file; known only if one file in the directory is of the location that EnergyPlus read."""
    weathers = [name for name in outputs.everything if name.lower().endswith(".epw")]
    eio = outputs.name(".eio")
    if len(weathers) != 1 or eio is None:
        return None
    simulated = _LOCATION.search(files.text(eio))
    with files.local_copy(weathers[0]) as local:
        with local.open("rb") as file:
            first, *fields = file.readline(_HEADER_BYTES).decode("latin-1").split(",")
        city_to_station = " ".join([*fields[:4], f"WMO#={fields[4]}"]) if len(fields) > 4 else None
        if first != "LOCATION" or not simulated or city_to_station is None:
            return None
        same = simulated[1].split() == city_to_station.split()
        return digest_of(local)[1] if same else None
