"""The package as a whole: what importing it costs, what it shows, and that its documentation runs."""

from __future__ import annotations

import asyncio
import doctest
import importlib
import pkgutil
import subprocess
import sys

import pytest

import idfkit_fs

MODULES = [
    found.name
    for found in pkgutil.walk_packages(idfkit_fs.__path__, "idfkit_fs.")
    if found.name != "idfkit_fs._stores.s3"
]


def test_importing_loads_no_backend_and_nothing_heavy() -> None:
    heavy = (
        "adbc_driver_manager",
        "adlfs",
        "aiobotocore",
        "botocore",
        "dask",
        "gcsfs",
        "pandas",
        "pyarrow",
        "pydantic",
        "s3fs",
        "tqdm",
        "xarray",
    )
    program = f"import idfkit_fs, sys; print([name for name in {heavy!r} if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_every_public_name_is_there() -> None:
    for name in idfkit_fs.__all__:
        assert getattr(idfkit_fs, name) is not None
    assert set(dir(idfkit_fs)) >= set(idfkit_fs.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = idfkit_fs.nonsense


def test_modules_with_public_names_need_no_import() -> None:
    program = "import idfkit_fs; print(idfkit_fs.cache.info, idfkit_fs.errors.StoreError)"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("module", MODULES)
def test_docstring_examples_run(module: str) -> None:
    names = {name: getattr(idfkit_fs, name) for name in idfkit_fs.__all__}
    assert doctest.testmod(importlib.import_module(module), extraglobs={**names, "asyncio": asyncio}).failed == 0
