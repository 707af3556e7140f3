"""A recorded run of EnergyPlus in the place of EnergyPlus: real outputs, cut down, which differ from run to run."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path
from typing import Any

from idfkit import IDFDocument
from idfkit.simulation import SimulationResult
from small_office import failing_model
from support.endings import end
from support.models import silent

from idfkit_fs import find_energyplus

__all__ = ["Recorded", "record"]

_KEPT = (".audit", ".bnd", ".end", ".err")
_ELAPSED = re.compile(rb"Elapsed Time=.*?sec")
_USER_VERSION = slice(60, 64)  # of SQLite's header


def record(directory: Path) -> None:
    """Run EnergyPlus twice, and keep what a run needs."""
    for name, model in (("ok", silent()), ("failed", failing_model())):
        ended = end(model, directory / f"{name}-all", find_energyplus(), "-D")
        assert (ended.exit_code == 0) == (name == "ok"), ended.printed
        (directory / name).mkdir()
        for suffix in _KEPT:
            (directory / name / f"eplus{suffix}").write_bytes((ended.directory / f"eplus{suffix}").read_bytes())
        if name == "ok":
            (directory / name / "eplus.sql").write_bytes(_small(ended.directory / "eplus.sql"))


def _small(sql: Path) -> bytes:
    """A database with all tables of EnergyPlus's, most of them empty."""
    with contextlib.closing(sqlite3.connect(sql)) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'view'")]
        for name in names:
            database.execute(f"DROP VIEW {name}")
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            if name != "Simulations":
                database.execute(f"DROP TABLE {name}")
        database.execute("CREATE INDEX simulated ON Simulations (SimulationIndex)")
        database.commit()
        database.execute("PRAGMA page_size = 512")
        database.execute("VACUUM")
    return sql.read_bytes()


class Recorded:
    """What EnergyPlus leaves, without EnergyPlus.

    Args:
        directory: What was recorded.
    """

    def __init__(self, directory: Path) -> None:
        self.files = {
            name: {path.name: path.read_bytes() for path in sorted((directory / name).iterdir())}
            for name in ("ok", "failed")
        }
        self.number = 0

    def write(self, directory: Path, success: bool = True) -> None:
        """Write another run: files of the same sizes with other bytes, and every second run has one file more."""
        self.number += 1
        number = self.number
        stamp = b"Elapsed Time=%02dhr %02dmin %5.2fsec" % (number // 3600, number // 60 % 60, number % 60)
        for name, data in self.files["ok" if success else "failed"].items():
            if name.endswith(".bnd") and number % 2:
                continue
            if name.endswith(".sql"):
                data = data[: _USER_VERSION.start] + number.to_bytes(4, "big") + data[_USER_VERSION.stop :]
            elif name.endswith((".audit", ".bnd")):
                data = data[:200] + b"\n! run %08d\n" % number
            else:
                data = _ELAPSED.sub(stamp, data)
            (directory / name).write_bytes(data)

    def run(self, model: IDFDocument, directory: Path) -> SimulationResult:
        """Take the place of idfkit's own function."""
        (building,) = model["Building"]
        success = building.name != "Failing model"
        self.write(directory, success)
        said = "EnergyPlus Completed Successfully." if success else "**FATAL:Errors occurred"
        facts: dict[str, Any] = {"success": success, "exit_code": 0 if success else 1, "stdout": "", "stderr": said}
        return SimulationResult(run_dir=directory, runtime_seconds=1.0, **facts)
