"""What each extra is for, tried on its own: ``python smoke_extras.py EXTRA`` (run by ``nox -s extras``)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from idfkit_fs import FsspecFileSystem, RunResult, find_energyplus, publish
from idfkit_fs._outputs.sidecars import can_write
from idfkit_fs.errors import MissingExtraError, NotReportedError

# Otherwise gcsfs asks Google what kind of bucket this is.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"


def none() -> None:
    """Without extras, local disk and memory work, and a URL of S3 says what to install."""
    fs = FsspecFileSystem.from_url("memory://smoke")
    fs.write_text("a b#1.txt", "x")
    assert fs.glob("", "*") == ["a b#1.txt"]
    for url, extra in (("s3://bucket", "s3"), ("gs://bucket", "gcs"), ("az://container", "azure")):
        with pytest.raises(MissingExtraError, match=rf"pip install 'idfkit-fs\[{extra}\]'"):
            FsspecFileSystem.from_url(url)
    done = published()
    assert [file.name for file in done.record.files] == ["eplus.end"]
    with pytest.raises(MissingExtraError, match=r"pip install 'idfkit-fs\[pandas\]'"):
        done.timeseries()
    done = subprocess.run(["idfkit-fs"], capture_output=True, text=True, check=False)
    assert done.returncode and "pip install 'idfkit-fs[cli]'" in done.stderr and "Traceback" not in done.stderr


def published() -> RunResult:
    """A run without results, published."""
    with TemporaryDirectory() as directory:
        word = "EnergyPlus Completed Successfully-- 0 Warning; 0 Severe Errors; Elapsed Time=00hr 00min  1.00sec\n"
        Path(directory, "eplus.end").write_text(word)
        return publish(directory, "memory://smoke/run", overwrite=True)


def s3() -> None:
    assert FsspecFileSystem.from_url("s3://bucket/x", anon=True).url("y") == "s3://bucket/x/y"


def gcs() -> None:
    assert FsspecFileSystem.from_url("gs://bucket/x", token="anon", project="p").url("y") == "gs://bucket/x/y"


def azure() -> None:
    fs = FsspecFileSystem.from_url("az://container/x", account_name="devstoreaccount1", account_key="c2VjcmV0")
    assert fs.url("y") == "az://container/x/y"


def sftp() -> None:
    with pytest.raises(ConnectionError):
        FsspecFileSystem.from_url("sftp://127.0.0.1:9/x", username="me", password="secret")


def pandas() -> None:
    import pandas as pd

    fs = FsspecFileSystem.from_url("memory://smoke")
    frame = pd.DataFrame({"hour": [1, 2], "degC": [20.5, 21.0]})
    frame.to_parquet(fs.url("frame.parquet"), storage_options=fs.storage_options)
    assert pd.read_parquet(fs.url("frame.parquet"), storage_options=fs.storage_options).equals(frame)
    assert can_write()
    with pytest.raises(NotReportedError, match="has no SQLite output"):
        published().timeseries()


def xarray() -> None:
    import xarray as xr

    published()
    with pytest.raises(NotReportedError, match="has no SQLite output"):
        xr.open_dataset("memory://smoke/run", engine="energyplus")


def dask() -> None:
    import dask
    from distributed import Client

    fs = FsspecFileSystem.from_url("memory://smoke")
    with Client(processes=False, dashboard_address=None) as client:
        assert client.submit(lambda fs: fs.url("x"), fs).result() == "memory://smoke/x"
    assert dask.base.tokenize(fs) == dask.base.tokenize(fs)


def progress() -> None:
    from idfkit_fs._util.progress import require_tqdm

    assert require_tqdm()


def energyplus() -> None:
    assert find_energyplus().version >= (25, 2, 0)


def cli() -> None:
    done = subprocess.run(["idfkit-fs", "cache", "info"], capture_output=True, text=True, check=True)
    assert "directory" in done.stdout


def every() -> None:
    for smoke in (s3, gcs, azure, sftp, pandas, xarray, dask, progress, energyplus, cli):
        smoke()


SMOKE: dict[str, Callable[[], None]] = {
    "": none, "s3": s3, "gcs": gcs, "azure": azure, "sftp": sftp, "pandas": pandas, "xarray": xarray, "dask": dask,
    "progress": progress, "energyplus": energyplus, "cli": cli, "all": every,
}  # fmt: skip

if __name__ == "__main__":
    SMOKE[sys.argv[1] if len(sys.argv) > 1 else ""]()
    print("works:", sys.argv[1:] or "no extras")
