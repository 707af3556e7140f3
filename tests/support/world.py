"""The machine of a reader of the pages: a directory with a model and a weather file, and a bucket with results."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from idfkit import write_idf
from small_office import small_office, weather
from support.servers import REPOSITORY, Store

from idfkit_fs import Study, simulate

__all__ = ["World", "make_results"]


def make_results(directory: Path) -> Path:
    """Run what the bucket of every page has: a run, ``office``, and a study of three cases that ended, ``windows``."""
    results = directory / "results"
    office = small_office(window_to_wall_ratio=0.3)
    simulate(office, weather(), output_dir=results / "office", annual=True)
    study = Study(results / "windows")
    for ratio in (0.2, 0.4, 0.6):
        model = small_office(window_to_wall_ratio=ratio)
        study.add(f"wwr-{ratio}", model, weather(), annual=True, parameters={"wwr": ratio})
    study.run()
    return results


def _of_s3(store: Store) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": store.endpoint,
        "AWS_ACCESS_KEY_ID": store.storage_options["key"],
        "AWS_SECRET_ACCESS_KEY": store.storage_options["secret"],
    }


class World:
    """What a reader has: ``office.idf``, ``chicago.epw``, the variables of a shell, and a bucket.

    Args:
        directory: An empty directory.
        store: The store whose bucket is ``my-bucket``.
        results: What the bucket has: `make_results`.
        variables: The variables of the shell that lead to the store; those of S3 unless given.
    """

    def __init__(
        self, directory: Path, store: Store, results: Path, variables: Mapping[str, str] | None = None
    ) -> None:
        for path in sorted(results.rglob("*")):
            if path.is_file():
                store.raw.put(path.relative_to(results).as_posix(), path.read_bytes())
        self.work = directory / "work"
        home = directory / "home"
        for path in (self.work, home, home / "tmp"):
            path.mkdir()
        shutil.copy(weather(), self.work / "chicago.epw")
        (self.work / "office.idf").write_text(write_idf(small_office(window_to_wall_ratio=0.3)), encoding="utf-8")
        shutil.copy(REPOSITORY / "examples" / "custom_backend.py", self.work)  # which a page asks the reader to save
        # What plain EnergyPlus leaves.
        outputs = [path for path in (results / "office").iterdir() if path.name.startswith("eplus")]
        (self.work / "runs" / "office").mkdir(parents=True)
        for path in outputs:
            shutil.copy(path, self.work / "runs" / "office")
        bin_directory = str(Path(sys.executable).parent)
        self.environment = {
            **os.environ,
            "PATH": f"{bin_directory}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(self.work), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / "cache"),
            "TMPDIR": str(home / "tmp"),
            "MPLBACKEND": "agg",
            "PYTHONUTF8": "1",
            **(_of_s3(store) if variables is None else variables),
        }

    def run(self, file: Path) -> str:
        """Run a snippet that must end well, in a process of its own, and return what it printed."""
        command = ["bash", "-euo", "pipefail", str(file)] if file.suffix == ".sh" else [sys.executable, str(file)]
        result = subprocess.run(
            command,
            cwd=self.work,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=600,
            check=False,
        )
        assert result.returncode == 0, f"{file.name}: {result.stdout}{result.stderr}"
        return result.stdout
