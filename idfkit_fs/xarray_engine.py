"""The engine ``energyplus`` of xarray: the series of a run as a dataset that reads values only when they are needed.

    xr.open_dataset("s3://bucket/study-001/case-42", engine="energyplus", storage_options={...})

xarray finds it by an entry point.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing

from idfkit_fs._outputs.datasets import Array, arrays_of, coordinates_of, keys_of
from idfkit_fs._outputs.series import FREQUENCIES, Names, Series
from idfkit_fs._util.urls import Location, UPathLike, repair, to_text
from idfkit_fs.errors import NotReportedError

if TYPE_CHECKING:
    import numpy.typing as npt

    from idfkit_fs._outputs.values import Period, Values
    from idfkit_fs.runs.data import RunData

__all__ = ["EnergyPlusBackend"]

# How many values are in one of the chunks that dask prefers (16 MiB).
_CHUNK = 2**21


class EnergyPlusBackend(BackendEntrypoint):
    """Opens runs of EnergyPlus, and their ``.sql`` files.

    Each output variable is an array with the dimensions ``key`` and ``time``; meters, and variables of the whole site,
    have only ``time``. ``key`` holds the key values of all variables; an array is NaN for a key that its variable does
    not have. Times are the ends of intervals, in local standard time.

    Opening reads the names of the series, and the times. An array reads its values when they are needed, and only
    those of the selected keys. A run with sidecars is read by ranges; a ``.sql`` file is copied to the cache.

    Examples:
        >>> ds = xr.open_dataset("s3://bucket/study-001/case-42", engine="energyplus")  # doctest: +SKIP
        >>> ds["Zone Mean Air Temperature"].sel(key="OFFICE").plot()  # doctest: +SKIP
    """

    description = "Runs of EnergyPlus, by idfkit-fs"
    supports_groups = True

    def open_dataset(  # type: ignore[override]  # xarray finds the parameters by their names
        self,
        filename_or_obj: Location,
        *,
        drop_variables: str | Iterable[str] | None = None,
        frequency: str | None = None,
        environment: Names | None = None,
        storage_options: dict[str, Any] | None = None,
    ) -> xr.Dataset:
        """Open the series of one reporting frequency.

        Args:
            filename_or_obj: The URL or path of a run that was published, or of a ``.sql`` file.
            drop_variables: Names of variables to leave out.
            frequency: The reporting frequency; required if the run reports at several.
            environment: Names of environments; None for the run periods. If there are several, the dataset has the
                coordinate ``environment`` along ``time``.
            storage_options: Options of the backend's fsspec class.

        Returns:
            The dataset.

        Raises:
            ValueError: If the run reports at several frequencies and none is given.
            NotReportedError: If the run reports no series, or none at this frequency.
            RunNotFoundError: If there is no run at the URL.
        """
        data = _open(filename_or_obj, storage_options)
        series = data.find("*", frequency=frequency)
        return _dataset(data, series, environment, _names(drop_variables))

    def open_groups_as_dict(  # type: ignore[override]  # as above
        self,
        filename_or_obj: Location,
        *,
        drop_variables: str | Iterable[str] | None = None,
        environment: Names | None = None,
        storage_options: dict[str, Any] | None = None,
    ) -> dict[str, xr.Dataset]:
        """Open all series, as one dataset per reporting frequency; arguments as in ``open_dataset``."""
        data = _open(filename_or_obj, storage_options)
        catalog = data.catalog()
        reported = [name for name in FREQUENCIES if any(series.frequency == name for series in catalog)]
        drop = _names(drop_variables)
        groups = {"/": xr.Dataset()}
        for name in reported:
            series = [each for each in catalog if each.frequency == name]
            with contextlib.suppress(NotReportedError):  # such as annual values of a design day
                groups[f"/{name}"] = _dataset(data, series, environment, drop)
        return groups

    def open_datatree(  # type: ignore[override]  # as above
        self,
        filename_or_obj: Location,
        *,
        drop_variables: str | Iterable[str] | None = None,
        environment: Names | None = None,
        storage_options: dict[str, Any] | None = None,
    ) -> xr.DataTree:
        """Open all series, as a tree with one group per reporting frequency; arguments as in ``open_dataset``."""
        groups = self.open_groups_as_dict(
            filename_or_obj,
            drop_variables=drop_variables,
            environment=environment,
            storage_options=storage_options,
        )
        return xr.DataTree.from_dict(groups)

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether xarray uses this engine without ``engine=``: for a ``.sql`` file, which no other engine opens."""
        named = isinstance(filename_or_obj, (str, os.PathLike, UPathLike))
        return named and to_text(filename_or_obj).endswith(".sql")


def _names(names: str | Iterable[str] | None) -> set[str]:
    return {names} if isinstance(names, str) else {*(names or ())}


def _open(url: Location, storage_options: dict[str, Any] | None) -> RunData:
    # Imported here, because xarray imports this module when it opens its first file of any kind.
    from idfkit_fs._fs.sync import FsspecFileSystem
    from idfkit_fs.runs.data import RunData
    from idfkit_fs.runs.files import RunFileSystem
    from idfkit_fs.runs.result import open_result

    text = to_text(url)
    if not text.endswith(".sql"):
        return open_result(url, storage_options=storage_options).data
    if isinstance(url, UPathLike):
        fs = FsspecFileSystem.from_upath(url.parent)
    else:
        fs = FsspecFileSystem.from_url(repair(text).rpartition("/")[0] or ".", **(storage_options or {}))
    return RunData(RunFileSystem.of(fs, None), None, text.rpartition("/")[2])


def _dataset(data: RunData, series: Sequence[Series], environment: Names | None, drop: set[str]) -> xr.Dataset:
    frequency = series[0].frequency
    period = data.period(frequency, environment)
    when = data.read(frequency, (), period)
    arrays = [array for array in arrays_of(series) if array.name not in drop]
    keys = keys_of(arrays)
    coordinates = coordinates_of(when.times, keys)
    if when.has_several_environments:
        coordinates["environment"] = ("time", when.environments)
    variables = {array.name: _variable(data, array, keys, period, when) for array in arrays}
    return xr.Dataset(variables, {name: each for name, each in coordinates.items() if name not in drop})


def _variable(data: RunData, array: Array, keys: list[str], period: Period, when: Values) -> xr.Variable:
    rows = [array.series.get(key) for key in keys] if array.has_keys else [*array.series.values()]
    lazy = _LazySeries(data, rows, period, len(when.times), array.has_keys)
    dims = ("key", "time") if array.has_keys else ("time",)
    chunks = {"key": max(1, _CHUNK // max(len(when.times), 1)), "time": len(when.times)}
    encoding = {"preferred_chunks": {dim: chunks[dim] for dim in dims}}
    return xr.Variable(dims, indexing.LazilyIndexedArray(lazy), array.attributes, encoding)


class _LazySeries(BackendArray):
    """The series of a variable, of the shape keys x times, that are read when they are indexed."""

    dtype = np.dtype(float)

    def __init__(
        self, data: RunData, rows: Sequence[Series | None], period: Period, length: int, has_keys: bool
    ) -> None:
        self._data, self._rows, self._period, self._has_keys = data, rows, period, has_keys
        self.shape = (len(rows), length) if has_keys else (length,)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> npt.NDArray[np.float64]:
        read: npt.NDArray[np.float64] = indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )
        return read

    def _read(self, key: tuple[Any, ...]) -> npt.NDArray[np.float64]:
        which, when = key if self._has_keys else (0, *key)
        chosen = np.arange(len(self._rows))[which]
        rows = [self._rows[number] for number in np.atleast_1d(chosen)]
        wanted = list(dict.fromkeys(series for series in rows if series is not None))
        values = np.full((len(rows), self.shape[-1]), np.nan)
        if wanted:
            read = self._data.read(wanted[0].frequency, wanted, self._period)
            columns = dict(zip(wanted, read.columns, strict=True))
            for row, series in zip(values, rows, strict=True):
                row[:] = np.nan if series is None else columns[series]
        return values[:, when] if np.ndim(chosen) else values[0, when]
