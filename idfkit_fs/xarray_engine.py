"""The engine ``energyplus`` of xarray: the series of a run as a dataset, of which only what is asked for is read.

    xr.open_dataset("s3://bucket/study-001/case-42", engine="energyplus", storage_options={...})

xarray finds it by its entry point.
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

# How many values dask is told to read at once (16 MiB).
_CHUNK = 2**21


class EnergyPlusBackend(BackendEntrypoint):
    """Reads runs of EnergyPlus, and their ``.sql`` files.

    Each output variable is an array with the dimensions ``key`` and ``time``; meters, and what is reported of the whole
    site, have ``time`` alone. ``key`` holds the key values of all variables, and is NaN where a variable has no such
    key. Times are the ends of intervals, in local standard time.

    Opening reads what the run says of its series, and the times; an array reads its values, of the keys that are
    selected, when they are needed. A run with sidecars is read by ranges; of a ``.sql`` a local copy is kept.

    Examples:
        >>> ds = xr.open_dataset("s3://bucket/study-001/case-42", engine="energyplus")  # doctest: +SKIP
        >>> ds["Zone Mean Air Temperature"].sel(key="OFFICE").plot()  # doctest: +SKIP
    """

    description = "Runs of EnergyPlus, by idfkit-fs"
    supports_groups = True

    def open_dataset(  # type: ignore[override]  # xarray looks the parameters up by their names
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
            frequency: The reporting frequency; needed where there are several.
            environment: Names of environments; None for the run periods. Where there are several, they are a
                coordinate of the times.
            storage_options: What the store's fsspec class takes.

        Returns:
            The dataset.

        Raises:
            ValueError: If the run reports at several frequencies and none is given.
            NotReportedError: If it reports nothing over time, or nothing at this frequency.
        """
        data = _open(filename_or_obj, storage_options)
        series = data.find("*", frequency=frequency)
        return _dataset(data, series, environment, _names(drop_variables))

    def open_groups_as_dict(  # type: ignore[override]  # likewise
        self,
        filename_or_obj: Location,
        *,
        drop_variables: str | Iterable[str] | None = None,
        environment: Names | None = None,
        storage_options: dict[str, Any] | None = None,
    ) -> dict[str, xr.Dataset]:
        """Open all series, as one dataset a reporting frequency; arguments as in ``open_dataset``."""
        data = _open(filename_or_obj, storage_options)
        catalog = data.catalog()
        reported = [name for name in FREQUENCIES if any(series.frequency == name for series in catalog)]
        drop = _names(drop_variables)
        groups = {"/": xr.Dataset()}
        for name in reported:
            series = [each for each in catalog if each.frequency == name]
            with contextlib.suppress(NotReportedError):  # as an annual value of a design day
                groups[f"/{name}"] = _dataset(data, series, environment, drop)
        return groups

    def open_datatree(  # type: ignore[override]  # likewise
        self,
        filename_or_obj: Location,
        *,
        drop_variables: str | Iterable[str] | None = None,
        environment: Names | None = None,
        storage_options: dict[str, Any] | None = None,
    ) -> xr.DataTree:
        """Open all series, as a tree with one group a reporting frequency; arguments as in ``open_dataset``."""
        groups = self.open_groups_as_dict(
            filename_or_obj,
            drop_variables=drop_variables,
            environment=environment,
            storage_options=storage_options,
        )
        return xr.DataTree.from_dict(groups)

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether a file is one that nothing else of xarray's would open: an ``.sql``."""
        named = isinstance(filename_or_obj, (str, os.PathLike, UPathLike))
        return named and to_text(filename_or_obj).endswith(".sql")


def _names(names: str | Iterable[str] | None) -> set[str]:
    return {names} if isinstance(names, str) else {*(names or ())}


def _open(place: Location, storage_options: dict[str, Any] | None) -> RunData:
    # Here, because xarray imports this module with the first file of any kind that it opens.
    from idfkit_fs._fs.sync import FsspecFileSystem
    from idfkit_fs.runs.data import RunData
    from idfkit_fs.runs.files import RunFileSystem
    from idfkit_fs.runs.result import open_result

    text = to_text(place)
    if not text.endswith(".sql"):
        return open_result(place, storage_options=storage_options).data
    if isinstance(place, UPathLike):
        fs = FsspecFileSystem.from_upath(place.parent)
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
    return xr.Dataset(variables, {name: told for name, told in coordinates.items() if name not in drop})


def _variable(data: RunData, array: Array, keys: list[str], period: Period, when: Values) -> xr.Variable:
    rows = [array.series.get(key) for key in keys] if array.has_keys else [*array.series.values()]
    lazy = _LazySeries(data, rows, period, len(when.times), array.has_keys)
    dims = ("key", "time") if array.has_keys else ("time",)
    chunks = {"key": max(1, _CHUNK // max(len(when.times), 1)), "time": len(when.times)}
    encoding = {"preferred_chunks": {dim: chunks[dim] for dim in dims}}
    return xr.Variable(dims, indexing.LazilyIndexedArray(lazy), array.attributes, encoding)


class _LazySeries(BackendArray):
    """Series of a variable, keys x times, that are read when they are indexed."""

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
