"""Check the files of a run against its record."""

from __future__ import annotations

from idfkit_fs._util.parallel import parallel_map
from idfkit_fs.errors import DamagedRunError, NotFoundError
from idfkit_fs.runs.record import RecordedFile
from idfkit_fs.runs.result import RunResult

__all__ = ["check_files", "damage_of"]


def damage_of(result: RunResult, *, deep: bool = False) -> dict[str, str]:
    """Find the files of a run that are missing, or differ from its record.

    Args:
        result: A run with a record.
        deep: Whether to read every file, and compare its hash; else only the sizes are compared.

    Returns:
        What is wrong with each damaged file, by its name.

    Raises:
        StoreError: If the store failed, refused access, or did not answer.
    """
    files = result.files

    def check(entry: RecordedFile) -> str | None:
        try:
            if deep:
                files.fetch(entry.name)
                return None
            size = files.version(entry.name).size
        except NotFoundError:
            return "it is missing"
        except DamagedRunError:
            return "its bytes differ from the record"
        return None if size in (None, entry.size) else f"it has {size} bytes instead of {entry.size}"

    entries = result.record.files if result.record else ()
    found = parallel_map(check, entries)
    return {entry.name: wrong for entry, wrong in zip(entries, found, strict=True) if wrong}


def check_files(result: RunResult) -> None:
    """Check that every file of a run exists with the size that its record says.

    Raises:
        DamagedRunError: If one does not; it names the first one.
        StoreError: If the store failed, refused access, or did not answer.
    """
    for name, wrong in damage_of(result).items():
        raise DamagedRunError.for_url(result.files.url(name), f"The file differs from the run's record: {wrong}")
