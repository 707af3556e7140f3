"""Studies without a simulation: jobs, outcomes and runs as a worker writes them, by the store's own objects."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow.parquet as pq

from idfkit_fs import Study
from idfkit_fs._outputs.database import Cell
from idfkit_fs._outputs.sidecars import TABULAR, Contents, cells_table
from idfkit_fs.runs.record import RECORD_NAME, RecordedFile, RunRecord
from idfkit_fs.studies.job import Job, Measured, Metric, Outcome, Summary
from idfkit_fs.studies.layout import EndedRun, State, job_path, outcome_path

__all__ = ["METRIC", "add", "cells_of", "end", "many"]

METRIC = Metric(name="heating", report="Annual", table="End Uses", row="Heating", column="Electricity")
_SQL = hashlib.sha256(b"sql").hexdigest()


def add(study: Study, case: str, **parameters: Any) -> Job:
    """A pending case."""
    sha256 = hashlib.sha256(case.encode()).hexdigest()
    job = Job(
        case=case,
        model=RecordedFile(name=f"{sha256}.idf", size=1, sha256=sha256),
        parameters={"name": case} | parameters,
    )
    study.fs.write_bytes(job_path(case), job.to_json())
    return job


def end(
    study: Study,
    job: Job,
    state: State = "ok",
    *,
    energy: float = 1000.0,
    cells: Iterable[Cell] | None = None,
    run: str = "first",
    summary: Mapping[str, Any] | None = None,
) -> str:
    """Its outcome, and, if *cells* are given, its run with them; returns the path of the outcome."""
    run_id = hashlib.md5(f"{job.case} {run}".encode(), usedforsecurity=False).hexdigest()
    files: tuple[RecordedFile, ...] = ()
    if cells is not None:
        file = io.BytesIO()
        contents = Contents(_SQL, (), (), has_cells=True)
        pq.write_table(cells_table([*cells]).replace_schema_metadata(contents.to_metadata()), file, compression="zstd")
        data = file.getvalue()
        files = (RecordedFile(name=TABULAR, size=len(data), sha256=hashlib.sha256(data).hexdigest()),)
        study.fs.write_bytes(f"{job.case}/{TABULAR}", data)
    record = RunRecord(
        id=run_id,
        success=state == "ok",
        exit_code=0 if state == "ok" else 1,
        runtime_seconds=1.25,
        job=job.key,
        sql_sha256=_SQL,
        files=files,
        sidecar_footers={TABULAR: _footer(data)} if files else {},
    )
    if cells is not None:
        study.fs.write_bytes(f"{job.case}/{RECORD_NAME}", record.to_json())
    told: dict[str, Any] = {"warnings": 1, "severe_errors": 0}
    if state == "ok":
        told |= {
            "site_energy_kwh": energy,
            "end_uses_kwh": {"Heating": {"Electricity": energy / 2, "Natural Gas": energy / 2}},
            "peak_demand_w": {"Electricity": energy / 10},
            "metrics": {"heating": Measured(cell=METRIC.cell, value=energy / 2, units="kWh")},
        }
    else:
        told |= {"message": f"** Fatal ** {job.case} is wrong"}
    outcome = Outcome(
        case=job.case,
        state="ok" if state == "ok" else "failed",
        key=job.key,
        parameters=job.parameters,
        record=record.model_copy(update={"files": ()}),
        summary=Summary(**{**told, **(summary or {})}),
    )
    path = outcome_path(outcome.state, job.case, EndedRun.of(job.key, run_id))
    study.fs.write_bytes(path, outcome.to_json())
    return path


def cells_of(energy: float, zones: Iterable[str] = ("Core", "North")) -> list[Cell]:
    """The cells of a small report, with a name that occurs twice."""
    annual = [
        Cell("Annual", "Entire Facility", "End Uses", row, column, "GJ", f"{energy + number:.2f}")
        for number, row in enumerate(("Heating", "Cooling"))
        for column in ("Electricity", "Natural Gas")
    ]
    zone = [Cell("Zones", "Entire Facility", "Summary", name, "Area", "m2", "10.0") for name in zones]
    twice = [Cell("Zones", "Entire Facility", "Notes", "", "Text", "", text) for text in ("b", "a")]
    return [*annual, *zone, *twice]


def _footer(data: bytes) -> str:
    return hashlib.sha256(data[-8 - int.from_bytes(data[-8:-4], "little") :]).hexdigest()


def many(study: Study, count: int) -> None:
    """Many cases, of which half are ok and half failed: as fast as the store takes them."""
    job = add(study, "@NAME@")
    paths = [job_path(job.case), end(study, job), end(study, job, "failed")]
    texts = [study.fs.fetch(path).decode() for path in paths]
    study.fs.remove_if_exists(paths)
    for number in range(count):
        for path, text in ((paths[0], texts[0]), (paths[1 + number % 2], texts[1 + number % 2])):
            name = path.replace(job.case, f"case-{number:05}")
            study.fs.store.pipe_file(study.fs.key(name), text.replace(job.case, f"case-{number:05}").encode())
