"""Find the inputs of a run: files that a user names by a path or URL."""

from __future__ import annotations

from pathlib import Path

from idfkit_fs._fs.beside import options_beside
from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.messages import redact
from idfkit_fs._util.urls import Location, UPathLike, is_url, repair, to_text
from idfkit_fs.errors import ModelError

__all__ = ["check_weather", "local_input"]


def local_input(location: Location, output: FsspecFileSystem) -> Path:
    """Find a weather file or model on this machine.

    Args:
        location: A local path, a URL, or a ``UPath``. A file at a URL is fetched into the cache, once for each version.
        output: The filesystem of the outputs, whose storage options are used for a URL on the same kind of store.

    Returns:
        The local path. A plain path is returned without a check that the file exists.

    Raises:
        FileNotFoundError: If no file exists at the URL.
        StoreError: If the store failed, refused access, or did not answer.
    """
    if isinstance(location, UPathLike):
        return FsspecFileSystem.from_upath(location.parent).local_path(location.name)
    text = repair(location)
    if not is_url(text):
        return Path(text)
    directory, _, name = text.rpartition("/")
    return FsspecFileSystem.from_url(directory, **options_beside(text, output)).local_path(name)


def check_weather(path: Path, location: Location) -> None:
    """Refuse a file that is not a weather file; EnergyPlus would notice only after a run.

    Args:
        path: The local file.
        location: What the user gave, for the message.

    Raises:
        ModelError: If it cannot be read, or is not an EPW file (EnergyPlus, Auxiliary Programs, "EnergyPlus Weather
            File (EPW) Data Dictionary": the first line begins with LOCATION).

    Examples:
        >>> check_weather(Path("chicago.epw"), "chicago.epw")  # doctest: +SKIP
    """
    shown = redact(to_text(location))
    try:
        with path.open("rb") as file:
            is_weather = file.read(9) == b"LOCATION,"
    except OSError as exc:
        raise ModelError(f"The weather file {shown!r} cannot be read: {exc.strerror}; check the path") from exc
    if not is_weather:
        raise ModelError(f"{shown!r} is not an EPW file: it does not begin with LOCATION; give a weather file")
