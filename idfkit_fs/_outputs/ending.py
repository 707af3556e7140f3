"""How a run of EnergyPlus ended, in EnergyPlus's own words: what may be called a success.

EnergyPlus says it up to four times: by its exit code, in the last line of its ``.err``, in its ``.end``, and in its
``.sql``. A success is only what none of them denies, and what the ``.end`` or the ``.err`` affirms.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from idfkit_fs._outputs.naming import output_name
from idfkit_fs._outputs.sqlite_file import connect, decode, is_truncated

__all__ = ["Ending", "OutputFiles", "read_counts", "read_ending", "read_local_ending"]

_TEXT_LIMIT = 1000
_TAIL = 64 * 1024
_HEADER = 1024
# Without its blanks: EnergyPlus 8 wraps the long line of an .end.
_WORD = re.compile(
    rb"EnergyPlus(Completed|Terminated)[^;=*]*?(\d+)Warning;(\d+)SevereErrors;ElapsedTime=[^=]{0,40}?sec"
)
_COMPLETED = "EnergyPlus Completed Successfully"  # on standard error, after all files
_DISK_FULL = b"disk is full"
# What the text files end with in every version.
_LAST = {
    ".eso": b"End of Data",
    ".mtr": b"End of Data",
    **dict.fromkeys(("Table.htm", "-table.htm", "tbl.htm"), b"</html>"),
}
# When EnergyPlus started, to the minute; it takes the time once, for all files.
_STAMP = re.compile(r"YMD=\s*([\d.]+ +[\d:]+)")
_STARTED = b"Beginning Simulation"
_MARK = re.compile(rb"^\s*\*\*\s+(Fatal|Severe|Warning|~~~)\s+\*\*(.*)$")
# EnergyPlus's own faults. Other signals come from outside: from a user, a scheduler, or a system without memory.
_CRASHES = frozenset({"SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP"})
_WINDOWS_FAULT, _WINDOWS_CTRL_C = 0xC0000000, 0xC000013A


class Ending(NamedTuple):
    """How a run ended.

    Attributes:
        success: Whether EnergyPlus says that it completed, and nothing denies it.
        cut: Whether the outputs end without EnergyPlus's own word, because it was killed, the disk was full, or it has
            not finished. Running it again may fix that.
        message: Why the run is not a success; None for a success.
        warnings: How many warnings EnergyPlus counted; None if it is unknown.
        severe_errors: How many severe errors EnergyPlus counted; None if it is unknown.
    """

    success: bool
    cut: bool
    message: str | None
    warnings: int | None
    severe_errors: int | None


class _Word(NamedTuple):
    """EnergyPlus's last sentence.

    Attributes:
        text: The sentence without its blanks.
        completed: Whether it says that EnergyPlus completed, and not that it terminated.
        warnings: The number of warnings in it.
        severe_errors: The number of severe errors in it.
    """

    text: bytes
    completed: bool
    warnings: int
    severe_errors: int


_Words = dict[str, _Word | None]


class _Fault(NamedTuple):
    """Why a run is not a success.

    Attributes:
        message: The reason.
        cut: As in [Ending][idfkit_fs._outputs.ending.Ending].
    """

    message: str
    cut: bool = False


class OutputFiles(Protocol):
    """The files of a run, wherever they are."""

    @property
    def names(self) -> Collection[str]:
        """Their names."""

    def read_bytes(self, name: str) -> bytes:
        """Read a file."""

    def read_tail(self, name: str, size: int) -> bytes:
        """Read the last bytes of a file, so many or all."""

    def local_copy(self, name: str) -> AbstractContextManager[Path]:
        """A local copy of a file, for as long as the ``with`` block lasts."""


class _LocalFiles:
    """The files of a local directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.names = os.listdir(directory)

    def read_bytes(self, name: str) -> bytes:
        return (self._directory / name).read_bytes()

    def read_tail(self, name: str, size: int) -> bytes:
        with (self._directory / name).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return file.read()

    def local_copy(self, name: str) -> AbstractContextManager[Path]:
        return contextlib.nullcontext(self._directory / name)


def read_ending(files: OutputFiles, prefix: str, exit_code: int | None = None, printed: str | None = None) -> Ending:
    """Find out how a run ended.

    Args:
        files: The run's files.
        prefix: The prefix of its output files; files of another prefix are of another run.
        exit_code: EnergyPlus's exit code; None if it is unknown.
        printed: What EnergyPlus printed, standard error last; None if it is unknown. It counts only where the run has
            neither an ``.end`` nor an ``.err``.

    Returns:
        How it ended.

    Raises:
        OSError: If a file cannot be read.

    Examples:
        >>> ending = read_local_ending(Path("runs/7"), "eplus")  # doctest: +SKIP
        >>> ending.success, ending.message  # doctest: +SKIP
    """
    end, err, sql = (output_name(files.names, prefix, suffix) for suffix in (".end", ".err", ".sql"))
    texts = {name: files.read_bytes(name) for name in (end, err) if name is not None}
    words = {name: _last_word(text) for name, text in texts.items()}
    errors = texts.get(err or "", b"")
    fault = (
        _fault_of_exit(exit_code, words, _own_message(errors))
        or _fault_of_words(words, errors, exit_code, printed)
        or (_fault_of_database(sql, errors, files) if sql else None)
        or _fault_of_tails(files, prefix)
    )
    counts = {(word.warnings, word.severe_errors) for word in words.values() if word}
    # Numbers that two files do not agree on, or that were counted before the outputs were cut, are unknown.
    warnings, severe_errors = counts.pop() if len(counts) == 1 and not (fault and fault.cut) else (None, None)
    message, cut = fault or (None, False)
    return Ending(fault is None, cut, message, warnings, severe_errors)


def read_counts(
    names: Collection[str], prefix: str, read_bytes: Callable[[str], bytes]
) -> tuple[int, int] | tuple[None, None]:
    """Read how many warnings and severe errors EnergyPlus counted, where it is known already how the run ended.

    Args:
        names: The names of the run's files.
        prefix: The prefix of its output files.
        read_bytes: Reads a file by its name.

    Returns:
        Both numbers; None if the run has neither an ``.end`` nor an ``.err``, or they are cut.

    Raises:
        OSError: If a file cannot be read.
    """
    for name in (output_name(names, prefix, suffix) for suffix in (".err", ".end")):
        word = name and _last_word(read_bytes(name))
        if word:
            return word.warnings, word.severe_errors
    return None, None


def read_local_ending(directory: Path, prefix: str, exit_code: int | None = None, printed: str | None = None) -> Ending:
    """Find out how a run in a local directory ended, as [read_ending][idfkit_fs._outputs.ending.read_ending] does.

    Args:
        directory: The directory.
        prefix: The prefix of its output files.
        exit_code: EnergyPlus's exit code; None if it is unknown.
        printed: What EnergyPlus printed; None if it is unknown.

    Returns:
        How it ended.

    Raises:
        OSError: If a file cannot be read.
    """
    return read_ending(_LocalFiles(directory), prefix, exit_code, printed)


def _fault_of_exit(exit_code: int | None, words: _Words, own: str | None) -> _Fault | None:
    """What ended EnergyPlus, if that was an error of its own or a signal."""
    # Of the two words the .err's counts, which comes last: EnergyPlus always writes it, and not always an .end.
    last = next(reversed(words.values()), None)
    if last and not last.completed:
        return _Fault(own or "EnergyPlus terminated with a fatal error; read what it printed")
    name = _signal(exit_code)
    if name in _CRASHES:
        return _Fault(own or f"EnergyPlus was killed by {name} (exit code {exit_code})")
    if name is not None:
        return _Fault(f"EnergyPlus was killed by {name} (exit code {exit_code}); run it again", cut=True)
    if exit_code and words:
        return _Fault(own or f"EnergyPlus ended with exit code {exit_code}; read what it printed")
    return None


def _fault_of_words(words: _Words, err: bytes, exit_code: int | None, printed: str | None) -> _Fault | None:
    """Which word of EnergyPlus is missing, or contradicts another one."""
    if not words and exit_code:
        return _Fault(_last_line(printed) or f"EnergyPlus wrote nothing, and its exit code is {exit_code}")
    if not words and _COMPLETED not in (printed or ""):
        return _Fault("EnergyPlus wrote no .end and no .err, so nothing says that it completed; run it again", cut=True)
    unsaid = [name for name, word in words.items() if word is None]
    if unsaid:
        text = f"EnergyPlus did not finish {' and '.join(unsaid)}, so the outputs are cut; run it again"
        return _Fault(text, cut=True)
    if len({word.text for word in words.values() if word}) > 1:
        return _Fault(f"{' and '.join(words)} are of different runs; run it again in an empty directory")
    if err and _STARTED not in err:
        return _Fault("EnergyPlus simulated nothing, it only read the model; leave out --convert-only")
    return None


def _fault_of_database(name: str, err: bytes, files: OutputFiles) -> _Fault | None:
    """Why a database is not that of a run that completed."""
    if any(name + suffix in files.names for suffix in ("-journal", "-wal")):
        return _Fault(f"{name} was left open while it was written; run it again", cut=True)
    stem = name.removesuffix(".sql")
    log = next((log for log in (f"{stem}Sqlite.err", f"{stem}-sqlite.err", "sqlite.err") if log in files.names), None)
    if log and _DISK_FULL in files.read_bytes(log):
        return _Fault(f"{name} is cut, because the disk was full; free space and run it again", cut=True)
    with files.local_copy(name) as path:
        try:
            with contextlib.closing(connect(path)) as database:
                flags = database.execute("SELECT Completed, CompletedSuccessfully FROM Simulations").fetchall()
                stamps = database.execute("SELECT TimeStamp FROM Simulations").fetchall()
                indexes = database.execute("SELECT 1 FROM sqlite_master WHERE type = 'index' AND sql != ''").fetchall()
                damage = [text for (text,) in database.execute("PRAGMA quick_check(1)") if text != "ok"]
                damage += ["it is truncated"] if is_truncated(path) else []
        except sqlite3.DatabaseError as exc:
            damage, flags, indexes, stamps = [str(exc)], [], [], []
    if damage:
        return _Fault(f"{name} is cut or damaged ({_bounded(damage[0])}); run it again", cut=True)
    started = [_STAMP.findall(text)[:1] for text in (decode(err[:_HEADER]), *(str(stamp) for (stamp,) in stamps))]
    if len({stamp for found in started for stamp in found}) > 1:
        return _Fault(f"{name} is of another run than the .err; run it again in an empty directory")
    if any(completed == 1 and successfully != 1 for completed, successfully in flags):
        return _Fault(f"{name} says that EnergyPlus did not complete successfully")
    # Both flags stay FALSE when EnergyPlus 9.4 and later complete. The indexes are the last that every version commits.
    if not flags or not (indexes or all(successfully == 1 for _, successfully in flags)):
        return _Fault(f"EnergyPlus did not finish {name}; run it again", cut=True)
    return None


def _fault_of_tails(files: OutputFiles, prefix: str) -> _Fault | None:
    """Which text file ends in the middle: EnergyPlus does not notice that a disk was full for a while."""
    for suffix, last in _LAST.items():
        name = output_name(files.names, prefix, suffix)
        if name and last not in files.read_tail(name, 200):
            return _Fault(f"EnergyPlus did not finish {name}, so the outputs are cut; run it again", cut=True)
    return None


def _last_word(text: bytes) -> _Word | None:
    """EnergyPlus's last sentence in a file; None if the file is cut before its end."""
    found = list(_WORD.finditer(b"".join(text[-_TAIL:].split())))
    if not found:
        return None
    how, warnings, severe_errors = found[-1].groups()
    return _Word(found[-1].group(), how == b"Completed", int(warnings), int(severe_errors))


def _own_message(err: bytes) -> str | None:
    """EnergyPlus's first fatal error, and its first severe error, which often says what is wrong."""
    first: dict[bytes, list[bytes]] = {}
    current: list[bytes] | None = None
    for line in err.splitlines():
        mark = _MARK.match(line)
        if mark is None:
            current = None
        elif mark.group(1) == b"~~~":
            if current is not None:
                current.append(mark.group(2))
        else:
            current = [mark.group(2)]
            first.setdefault(mark.group(1), current)
    texts = {kind: _bounded(" ".join(decode(part).strip() for part in parts)) for kind, parts in first.items()}
    fatal, severe = texts.get(b"Fatal"), texts.get(b"Severe")
    return f"{fatal.rstrip('.')}. First severe error: {severe}" if fatal and severe else fatal or severe


def _bounded(text: str) -> str:
    return text if len(text) <= _TEXT_LIMIT else f"{text[: _TEXT_LIMIT - 4]} ..."


def _signal(exit_code: int | None) -> str | None:
    """The name of the signal that ended EnergyPlus; a shell in between adds 128 to its number."""
    if exit_code is None or 0 <= exit_code <= 128:
        return None
    if exit_code == _WINDOWS_CTRL_C:
        return "SIGINT"
    if exit_code >= _WINDOWS_FAULT:
        return "SIGSEGV"
    try:
        return signal.Signals(-exit_code if exit_code < 0 else exit_code - 128).name
    except ValueError:
        return None


def _last_line(printed: str | None) -> str:
    lines = [line.strip() for line in (printed or "").splitlines() if line.strip()]
    return _bounded(lines[-1]) if lines else ""
