"""Values of many cases as Dask arrays: each chunk is read by the worker that needs it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import dask.array as da
import numpy as np

from idfkit_fs._util.parallel import parallel_map
from idfkit_fs.errors import DamagedRunError
from idfkit_fs.studies.chunks import cases_per_chunk
from idfkit_fs.studies.collect import NO_DATA, READING_THREADS, Reading, reason_of
from idfkit_fs.studies.tables import Grid, Part

if TYPE_CHECKING:
    import numpy.typing as npt

    from idfkit_fs._outputs.datasets import Array

__all__ = ["Block", "lazy_values"]


@dataclass(frozen=True, repr=False)
class Block:
    """A chunk of a variable: some cases, all key values, all times. It can be pickled, and is small.

    Attributes:
        cases: The name of each case, what to read of it, and where its values belong; in the order of the chunk.
        shape: The number of key values and times.
        has_keys: Whether the variable has the dimension ``key``.
    """

    cases: tuple[tuple[str, Reading, Part], ...]
    shape: tuple[int, int]
    has_keys: bool

    def __repr__(self) -> str:  # Dask logs the arguments of a task that fails
        return f"Block({self.cases[0][0]!r} to {self.cases[-1][0]!r})"

    def read(self) -> npt.NDArray[np.float64]:
        """Read the values.

        Raises:
            DamagedRunError: If a case cannot be read any more as it was opened.
        """
        values = np.full((len(self.cases), *self.shape), np.nan)
        pairs = zip(self.cases, values, strict=True)
        parallel_map(lambda pair: _read_case(*pair[0], pair[1]), pairs, threads=READING_THREADS)
        return values if self.has_keys else values[:, 0]


def _read_case(case: str, reading: Reading, part: Part, target: npt.NDArray[np.float64]) -> None:
    if not part.series:
        return
    try:
        values = replace(reading, series=part.series).values()
    except NO_DATA as exc:
        raise DamagedRunError.for_url(
            reading.data.url,
            f"The case {case!r} changed after to_xarray() opened it; call to_xarray() again: {reason_of(exc)}",
        ) from exc
    part.put(values, target)


def lazy_values(grid: Grid, chunks: int | Literal["auto"]) -> dict[str, da.Array]:
    """The values of each variable of a dataset, which are read when they are needed.

    Args:
        grid: The dataset.
        chunks: The size of the chunks, as [check_chunks][idfkit_fs.studies.chunks.check_chunks] returned it.
    """
    most = max(np.prod(grid.shape(array), dtype=int) for array in grid.arrays)
    step = cases_per_chunk(chunks, len(grid.found.readings), 8 * int(most))
    return {array.name: _lazy(grid, array, step) for array in grid.arrays}


def _lazy(grid: Grid, array: Array, step: int) -> da.Array:
    cases, shape = [*grid.found.readings.items()], grid.shape(array)
    starts = range(0, len(cases), step)
    blocks = [
        Block(
            tuple((case, reading, grid.part(array, case)) for case, reading in cases[start : start + step]),
            shape,
            array.has_keys,
        )
        for start in starts
    ]
    others = shape if array.has_keys else shape[1:]
    # The name is not a digest of the values, as Dask's own readers have it: two datasets never share what one has read.
    name = f"to_xarray-{array.name}-{uuid.uuid4().hex}"
    graph: dict[Any, Any] = {
        (name, number, *(0 for _ in others)): (Block.read, block) for number, block in enumerate(blocks)
    }
    sizes = (tuple(len(block.cases) for block in blocks), *((length,) for length in others))
    return da.Array(graph, name, sizes, dtype=float)  # type: ignore[no-untyped-call]  # dask's types are partial
