"""A study: many runs under one URL. The store holds all of its state; there is no server and no database."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Sized
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, get_args

from idfkit import IDFDocument
from idfkit.simulation import SimulationJob

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.messages import did_you_mean, redact
from idfkit_fs._util.optional_deps import require
from idfkit_fs._util.parallel import parallel_map
from idfkit_fs._util.progress import byte_progress_bar, progress_bar
from idfkit_fs._util.retry import retry
from idfkit_fs._util.urls import Location, is_url, last_name, to_text
from idfkit_fs.errors import (
    CaseExistsError,
    CaseNotFoundError,
    ExistsError,
    IdfkitFsError,
    LocationError,
    RecordError,
    RunNotFoundError,
    StudyNotFoundError,
)
from idfkit_fs.runs.download import chosen_files, save
from idfkit_fs.runs.record import RECORD_NAME
from idfkit_fs.runs.result import RunResult, open_result
from idfkit_fs.runs.simulate import JobOptions, options_beside
from idfkit_fs.studies.collect import Collector
from idfkit_fs.studies.engine import Planned, RunReport, run_cases
from idfkit_fs.studies.job import Job, Metrics, Outcome, StudyFile, parse_metrics
from idfkit_fs.studies.layout import (
    INPUTS,
    JOBS,
    STUDY,
    Ended,
    State,
    check_case,
    counted,
    job_path,
    outcome_path,
    outcomes_directory,
    parse_jobs,
    parse_outcomes,
    short_key,
)
from idfkit_fs.studies.prepare import Case, Inputs, case_of_job
from idfkit_fs.studies.rows import Row, as_table, row_of
from idfkit_fs.studies.worker import Source, read_job, read_study

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from idfkit_fs._outputs.series import Names
    from idfkit_fs._outputs.values import Values
    from idfkit_fs.runs.data import RunData

__all__ = ["Study", "StudyStatus"]


@dataclass(frozen=True)
class StudyStatus:
    """How the cases of a study stand.

    Attributes:
        ok: Cases that EnergyPlus ended well.
        failed: Cases that it ended with an error.
        missing: Cases that are still to be run.
    """

    ok: tuple[str, ...]
    failed: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def total(self) -> int:
        """How many cases there are."""
        return len(self.ok) + len(self.failed) + len(self.missing)

    def states(self) -> dict[str, State]:
        """The state of each case, by its name; sorted."""
        named: list[tuple[str, State]] = [
            *((case, "ok") for case in self.ok),
            *((case, "failed") for case in self.failed),
            *((case, "missing") for case in self.missing),
        ]
        return dict(sorted(named))

    def __str__(self) -> str:
        return f"{counted(self.total)}: {len(self.ok)} ok, {len(self.failed)} failed, {len(self.missing)} missing"


class Study:
    """Many runs under one URL: prepare them here, run them anywhere, collect them from any machine.

    The store holds all of the state, so any number of machines may look, add and run at the same time. Making a Study
    asks nothing of the store, and changes nothing there.

    Args:
        url: The study's URL, a plain path, or a ``UPath``.
        storage_options: What the store's fsspec class takes.
        metrics: Cells of tabular reports that the summary of every case has, as ``(report, table, row, column)``, or
            a mapping of the names of their columns to such; kept in the study when cases are added. None leaves
            what the study has.

    Raises:
        LocationError: If the URL names no bucket or directory.
        ValueError: If a metric is none.

    Examples:
        >>> study = Study("memory://study-001")
        >>> study.add("case-42", model, "chicago.epw", annual=True, parameters={"wwr": 0.4})  # doctest: +SKIP
        >>> print(study.run(progress=True))  # doctest: +SKIP
        1 case: 1 simulated
        >>> study.summary()[["wwr", "eui_kwh_m2"]]  # doctest: +SKIP
    """

    def __init__(
        self, url: Location, *, storage_options: dict[str, Any] | None = None, metrics: Metrics | None = None
    ) -> None:
        self.fs = FsspecFileSystem.from_url(url, **(storage_options or {}))
        self._metrics = None if metrics is None else parse_metrics(metrics)
        self._stored: set[str] | None = None

    @property
    def url(self) -> str:
        """The study's URL."""
        return self.fs.url()

    def __repr__(self) -> str:
        return f"Study({redact(self.url)!r})"

    def __reduce__(self) -> Any:
        metrics = None if self._metrics is None else {metric.name: metric.cell for metric in self._metrics}
        return _restore, (self.url, self.fs.storage_options, metrics)

    # Prepare.

    def add(
        self,
        case: str,
        model: IDFDocument | Location,
        weather: Location | None = None,
        *,
        parameters: Mapping[str, Any] | None = None,
        metrics: Metrics = (),
        include: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
        overwrite: bool = False,
        **options: Unpack[JobOptions],
    ) -> None:
        """Add a case. Many go quicker with [add_cases][idfkit_fs.Study.add_cases].

        Adding the same case again changes nothing.

        Args:
            case: The case's name; it becomes a directory of the study.
            model: An idfkit document, or a path or URL of an IDF or epJSON file.
            weather: A path or URL of a weather file (EPW); None for a design-day run.
            parameters: What you want to remember of the case: any JSON values; columns of the summary.
            metrics: Cells of tabular reports to keep in the summary, beside the study's own.
            include: Glob patterns of the files to publish. By default all but the inputs (weather file, model).
            exclude: Glob patterns of files to leave out.
            overwrite: Whether another case of that name may be replaced; its run goes, unless it is what the new one
                asks for.
            **options: Keywords of [idfkit.simulation.simulate][idfkit.simulation.runner.simulate], such as
                ``annual=True``.

        Raises:
            CaseExistsError: If the study has another case of that name, and *overwrite* is False.
            ModelError: If the model or the weather file cannot be read as one.
            LocationError: If *case* cannot be a name.
            TypeError: For a keyword that idfkit does not know.
            ValueError: If a parameter is no JSON, or has the name of a column of the summary.

        Examples:
            >>> study.add("wwr-0.4", model, "chicago.epw", annual=True, parameters={"wwr": 0.4})  # doctest: +SKIP
        """
        added = Case(case, model, weather, parameters or {}, metrics, include, exclude, options)
        self.add_cases([added], overwrite=overwrite)

    def add_jobs(self, jobs: Iterable[SimulationJob], *, overwrite: bool = False, progress: bool = False) -> None:
        """Add what [idfkit.simulation.simulate_batch][idfkit.simulation.batch.simulate_batch] takes.

        Args:
            jobs: Jobs; the ``label`` of each is the case's name, or without one the name of its ``output_dir``.
            overwrite: As in [add][idfkit_fs.Study.add].
            progress: Whether to show a bar.

        Raises:
            LocationError: If a job has neither label nor output directory.
            CaseExistsError: As [add][idfkit_fs.Study.add]; the others likewise.
        """
        cases = [case_of_job(job) for job in jobs]
        self.add_cases(cases, overwrite=overwrite, progress=progress)

    def add_cases(self, cases: Iterable[Case], *, overwrite: bool = False, progress: bool = False) -> None:
        """Add many cases side by side. Each model and weather file goes up once, whoever uses it.

        Args:
            cases: The cases; a generator is asked for the next only when the store can take it.
            overwrite: As in [add][idfkit_fs.Study.add].
            progress: Whether to show a bar.

        Raises:
            CaseExistsError: As [add][idfkit_fs.Study.add]; the others likewise. Cases before the wrong one may have
                been added by then; adding all again is free for these.

        Examples:
            >>> study.add_cases(
            ...     Case(f"wwr-{wwr}", office(wwr), "chicago.epw", {"wwr": wwr}, options={"annual": True})
            ...     for wwr in (0.2, 0.4, 0.6)
            ... )  # doctest: +SKIP
        """
        self._begin()
        inputs = Inputs(self.fs.joinpath(INPUTS), self._stored_inputs())
        total = len(cases) if isinstance(cases, Sized) else None
        # Many are looked up in one listing; of one, its job is asked for.
        listed = None if total == 1 else {*parse_jobs(self._listing(JOBS))}
        seen: dict[str, Job] = {}

        def prepared() -> Iterator[tuple[Job, dict[str, bytes | Path]]]:
            for case in cases:
                if not isinstance(case, Case):
                    raise TypeError(f"add_cases() takes Case objects, not {type(case).__name__}")
                job, contents = inputs.job_of(case)
                if seen.setdefault(job.case, job) != job:
                    raise self._taken(job.case)
                yield job, contents

        def add(item: tuple[Job, dict[str, bytes | Path]]) -> None:
            job, contents = item
            for name, data in contents.items():
                inputs.send(name, data)
            self._add_job(job, overwrite, is_new=listed is not None and job.case not in listed)

        with progress_bar(total, f"Adding to {last_name(self.url)}", "case", progress) as done:
            parallel_map(add, prepared(), done)

    def _begin(self) -> None:
        """Describe the study, unless it is described as it should be."""
        try:
            standing = read_study(self.fs)
        except StudyNotFoundError:
            wanted = StudyFile(metrics=self._metrics or ())
            if self.fs.create_exclusive(STUDY, wanted.to_json()):
                self._stored = None  # nothing is left of a study that stood here
                return
            standing = read_study(self.fs)
        if self._metrics is not None and self._metrics != standing.metrics:
            wanted = StudyFile(metrics=self._metrics)
            retry(lambda: self.fs.write_bytes(STUDY, wanted.to_json()))

    def _stored_inputs(self) -> set[str]:
        if self._stored is None:
            self._stored = {path.rpartition("/")[2] for path in retry(lambda: self.fs.glob(INPUTS, "*"))}
        return self._stored

    def _add_job(self, job: Job, overwrite: bool, is_new: bool) -> None:
        path, data = job_path(job.case), job.to_json()
        standing: Job | None = None
        try:
            standing = None if is_new else self._job(job.case)
            if standing is None:
                if self.fs.create_exclusive(path, data):
                    return
                standing = self._job(job.case)  # somebody else was quicker
            if standing is not None and standing.asks_for_same(job):
                return
            if not overwrite:
                raise self._taken(job.case)
        except RecordError:
            if not overwrite:
                raise
        # The outcome goes first: from now on the case is missing, whenever this process ends.
        outcomes = self._outcomes_of(job.case, standing)
        self.fs.remove_if_exists(outcomes)
        if standing is None or (standing.key, standing.options) != (job.key, job.options):
            self.fs.remove_if_exists([f"{job.case}/{RECORD_NAME}"])
        self.fs.write_bytes(path, data)
        self.fs.remove_if_exists(outcomes)  # of a worker that saw the old job until now

    def _job(self, case: str) -> Job | None:
        try:
            return read_job(self.fs, case)
        except CaseNotFoundError:
            return None

    def _outcomes_of(self, case: str, job: Job | None) -> list[str]:
        """Where it may stand how a case ended; if its job cannot be read, by a listing."""
        if job is not None:
            return [job.outcome_path(state) for state in get_args(Ended)]
        return self._table().outcomes_of(case)

    def _taken(self, case: str) -> CaseExistsError:
        message = f"The study has another case {case!r}; overwrite=True replaces it"
        return CaseExistsError(17, message, redact(self.fs.url(job_path(case))))

    # Run.

    def run(
        self,
        cases: Iterable[str] | None = None,
        *,
        states: Collection[str] = ("missing",),
        executor: Executor | None = None,
        max_workers: int | None = None,
        reuse: Study | Location | None = None,
        progress: bool = False,
    ) -> RunReport:
        """Run cases, here or on an engine.

        A case that asks for what another one has already is copied from it instead of simulated. One that EnergyPlus
        ends with an error is ``failed``, and the others go on. An interrupt stops EnergyPlus, and publishes nothing.

        Args:
            cases: Names of cases to run unless they are ok; None for all in one of *states*.
            states: ``"missing"``, ``"failed"``, or both.
            executor: Anything with [concurrent.futures.Executor][]'s ``submit``, such as a process pool or
                ``dask.distributed.Client(...).get_executor()``; its workers get the storage options. None runs the
                cases in this process, EnergyPlus being a process of its own.
            max_workers: How many at once in this process; by default as many as it may use processors.
            reuse: Another study, whose runs are copied too; a URL is reached with this study's storage options.
            progress: Whether to show a bar.

        Returns:
            What became of the cases; ``print`` it.

        Raises:
            IncompleteRunError: If some could not be run for a reason that is not EnergyPlus's, such as a store that
                does not answer; running again takes up the rest. Refused access and a missing EnergyPlus end the
                run at once, for they would befall every case.
            CaseNotFoundError: If the study has no case of a name in *cases*; before anything is run.
            StudyNotFoundError: If there is no study.
            ValueError: If *states* or *max_workers* is none.

        Examples:
            >>> print(study.run(max_workers=8, progress=True))  # doctest: +SKIP
            1000 cases: 940 simulated, 60 reused
        """
        states = {states} if isinstance(states, str) else states
        wrong = {*states} - {"missing", "failed"}
        if wrong:
            raise ValueError(f"states are 'missing' and 'failed', not {wrong.pop()!r}")
        if max_workers is not None and max_workers < 1:
            raise ValueError(f"max_workers must be at least 1, not {max_workers}")
        table = self._table()
        known = table.status().states()
        chosen = [case for case in known if known[case] in states] if cases is None else table.known(cases, self.url)
        with progress_bar(len(chosen), f"Planning {last_name(self.url)}", "case", progress) as done:
            keys = dict(zip(chosen, parallel_map(self._key_of, chosen, done), strict=True))
        plan = self._plan(keys, table, reuse)
        return run_cases(self.url, self.fs.storage_options, plan, executor, max_workers, progress)

    def _key_of(self, case: str) -> str:
        try:
            return read_job(self.fs, case).key
        except (CaseNotFoundError, RecordError):
            return case  # running it will say what is wrong, and the others go on

    def _plan(self, keys: Mapping[str, str], table: _Table, reuse: Study | Location | None) -> list[list[Planned]]:
        """Groups of cases that ask for the same run, with the run that has it already if there is one."""
        studies = [(self, table)]
        if reuse is not None:
            other = reuse if isinstance(reuse, Study) else Study(reuse, storage_options=self.fs.storage_options)
            studies.append((other, other._table()))
        sources = {
            key: Source(study.fs.url(case), study.fs.storage_options)
            for study, known in reversed(studies)
            for case, endings in known.ended["ok"].items()
            for key in endings
        }
        groups: dict[str, list[Planned]] = {}
        for case, key in keys.items():
            again = case in table.ended["failed"]
            groups.setdefault(key, []).append(Planned(case, sources.get(short_key(key)), again))
        return list(groups.values())

    # Collect.

    def cases(self) -> list[str]:
        """The names of all cases, sorted.

        Raises:
            StudyNotFoundError: If there is no study.
        """
        return list(self._table().status().states())

    def status(self) -> StudyStatus:
        """How the cases stand; a few listings, whatever the number of cases is.

        Raises:
            StudyNotFoundError: If there is no study.
            RecordError: If it is of a newer format.
        """
        return self._table().status()

    def result(self, case: str) -> RunResult:
        """Open the run of a case.

        Args:
            case: The case's name.

        Returns:
            The result, as [open_result][idfkit_fs.open_result] gives it.

        Raises:
            CaseNotFoundError: If the study has no such case.
            RunNotFoundError: If the case has not been run yet.
        """
        check_case(case)
        try:
            return open_result(self.fs.url(case), storage_options=self.fs.storage_options)
        except RunNotFoundError as exc:
            self._table().known([case], self.url)
            message = f"Case {case!r} has no run yet; run it first"
            raise RunNotFoundError(2, message, redact(self.fs.url(case))) from exc

    def results(self, cases: Iterable[str] | None = None, *, progress: bool = False) -> dict[str, RunResult]:
        """Open the runs of many cases side by side; of each, only the record is read.

        Args:
            cases: Names of cases; None for all that have been run, failed ones too.
            progress: Whether to show a bar.

        Returns:
            Results by case.
        """
        table = self._table()
        status = table.status()
        names = sorted([*status.ok, *status.failed]) if cases is None else table.known(cases, self.url)
        with progress_bar(len(names), f"Opening {last_name(self.url)}", "case", progress) as done:
            return dict(zip(names, parallel_map(self.result, names, done), strict=True))

    def summary(self, *, progress: bool = False) -> pd.DataFrame:
        """What the workers noted of each case; no result file is read.

        Args:
            progress: Whether to show a bar.

        Returns:
            One row a case, those that failed or are missing among them; the index is the case's name. Columns: the
            state, the parameters, [Summary][idfkit_fs.studies.job.Summary]'s fields (energies in kWh, areas in m2,
            demands in W), end uses as ``heating_natural_gas_kwh``, peaks as ``peak_electricity_w``, the metrics, and
            ``runtime_seconds`` of EnergyPlus.

        Raises:
            MissingExtraError: If pandas is not installed.
            StudyNotFoundError: If there is no study.
        """
        pandas = require("pandas", "pandas", "summary()")
        columns, rows = self.summary_rows(progress=progress)
        return pandas.DataFrame(rows, columns=columns).set_index("case")

    def summary_rows(self, *, progress: bool = False) -> tuple[list[str], list[dict[str, Any]]]:
        """As [summary][idfkit_fs.Study.summary], without pandas.

        Returns:
            The columns, ``case`` first, and a row for each case, without what it does not have.
        """
        table = self._table()
        states = table.status().states()
        with progress_bar(len(states), f"Collecting {last_name(self.url)}", "case", progress) as done:
            return as_table(parallel_map(lambda item: self._row(*item, table), states.items(), done))

    def _row(self, case: str, state: State, table: _Table) -> Row:
        try:
            if state != "missing":
                with contextlib.suppress(FileNotFoundError):  # it is being run again
                    return row_of(self._outcome(case, state, table.ended[state][case]))
            return Row(case, "missing", read_job(self.fs, case).parameters)
        except (RecordError, CaseNotFoundError) as exc:
            return Row(case, "damaged", message=str(exc))

    def _outcome(self, case: str, state: Ended, keys: set[str]) -> Outcome:
        # There are several of a case that was replaced while it ran.
        key = next(iter(keys)) if len(keys) == 1 else read_job(self.fs, case).key
        path = outcome_path(state, case, key)
        outcome = Outcome.from_json(self.fs.read_bytes(path), redact(self.fs.url(path)))
        if (outcome.case, outcome.state) != (case, state):
            raise RecordError(f"{redact(self.fs.url(path))} is the outcome of another case, {outcome.case!r}")
        return outcome

    def timeseries(
        self,
        variables: Names = "*",
        *,
        keys: Names | None = None,
        frequency: str | None = None,
        environment: Names | None = None,
        cases: Iterable[str] | None = None,
        progress: bool = False,
    ) -> pd.DataFrame:
        """What EnergyPlus reported over time, of many cases.

        Cases without data (failed, not run yet, or without these series) are left out, and a warning tells why;
        ``attrs["without_data"]`` has the reason for each.

        Args:
            variables: As in [RunResult.timeseries][idfkit_fs.RunResult.timeseries]; the next three likewise.
            keys: Key values; None for all.
            frequency: The reporting frequency; None for the one at which they are reported.
            environment: Names of environments; None for the run periods.
            cases: Names of cases; None for all.
            progress: Whether to show bars.

        Returns:
            One column a series, as [RunResult.timeseries][idfkit_fs.RunResult.timeseries] names them, with the same
            ``attrs``. The index is the case's name and the end of the interval; between them the environment's name
            if a case has several.

        Raises:
            NotReportedError: If no case has such series; it lists the nearest names.
            ValueError: If they are reported at several frequencies and none is given.
            CaseNotFoundError: If the study has no such case.
            MissingExtraError: If pandas or pyarrow is not installed.

        Examples:
            >>> study.timeseries("Electricity:Facility")["Electricity:Facility [J](Hourly)"].unstack("case")
            ... # doctest: +SKIP
        """
        collector = self._collector(cases, progress)
        readings = collector.find(self._data_of, variables, keys, frequency, environment)
        values = collector.read(readings, lambda _, read: read)
        from idfkit_fs.studies.tables import values_frame

        frame = values_frame(values)
        frame.attrs["without_data"] = collector.without_data
        collector.warn()
        return frame

    def tabular(
        self,
        report: str = "*",
        table: str = "*",
        row: str = "*",
        column: str = "*",
        *,
        cases: Iterable[str] | None = None,
        progress: bool = False,
    ) -> pd.DataFrame:
        """The cells of EnergyPlus's tabular reports, of many cases.

        Cases without data are left out, and told of as in [timeseries][idfkit_fs.Study.timeseries].

        Args:
            report: As in [RunResult.tabular][idfkit_fs.RunResult.tabular]; the next three likewise.
            table: Such as ``"End Uses"``.
            row: Such as ``"Heating"``.
            column: Such as ``"District Heating Water"``.
            cases: Names of cases; None for all.
            progress: Whether to show a bar.

        Returns:
            One row a cell, with the columns of [RunResult.tabular][idfkit_fs.RunResult.tabular]; the index is the case.

        Raises:
            NotReportedError: If no case has such a cell; it lists the nearest names.
            CaseNotFoundError: If the study has no such case.
            MissingExtraError: If pandas or pyarrow is not installed.

        Examples:
            >>> study.tabular("AnnualBuilding*", "End Uses", "Heating", "District Heating Water")["number"]
            ... # doctest: +SKIP
        """
        collector = self._collector(cases, progress)
        found = collector.ask(lambda case: self.result(case).tabular(report, table, row, column), "Reading")
        from idfkit_fs.studies.tables import cells_frame

        frame = cells_frame(found)
        frame.attrs["without_data"] = collector.without_data
        collector.warn()
        return frame

    def to_xarray(
        self,
        variables: Names = "*",
        *,
        keys: Names | None = None,
        frequency: str | None = None,
        environment: Names | None = None,
        cases: Iterable[str] | None = None,
        progress: bool = False,
    ) -> xr.Dataset:
        """What EnergyPlus reported over time, of many cases, as a dataset in memory.

        It has room for each key and time of each case, so name the variables that you want: one at a time takes least.

        Args:
            variables: As in [timeseries][idfkit_fs.Study.timeseries]; the others likewise.
            keys: Key values; None for all.
            frequency: The reporting frequency; None for the one at which they are reported.
            environment: Names of environments; None for the run periods.
            cases: Names of cases; None for all.
            progress: Whether to show bars.

        Returns:
            One array a variable, with the dimensions ``case``, ``key`` and ``time``; meters, and what is reported of
            the whole site, have no ``key``. The parameters are coordinates of the cases. NaN where a case has no such
            key or time. ``attrs["without_data"]`` tells of cases without data, if there are any.

        Raises:
            NotReportedError: As [timeseries][idfkit_fs.Study.timeseries]; the others likewise.
            ValueError: Also if several environments have values for one time.
            MissingExtraError: If xarray or pyarrow is not installed.

        Examples:
            >>> ds = study.to_xarray("Zone Mean Air Temperature")  # doctest: +SKIP
            >>> ds["Zone Mean Air Temperature"].sel(key="OFFICE").quantile(0.95, "time")  # doctest: +SKIP
        """
        require("xarray", "xarray", "to_xarray()")
        collector = self._collector(cases, progress)
        readings = collector.find(self._data_of, variables, keys, frequency, environment)
        parameters = self._parameters_of(collector)
        values = collector.read(readings, lambda _, read: read)
        from idfkit_fs.studies.tables import to_dataset

        dataset: xr.Dataset = to_dataset(values, parameters)
        if collector.without_data:
            # A text, for a netCDF file has no dictionaries.
            dataset.attrs["without_data"] = collector.reasons()
        collector.warn()
        return dataset

    def to_parquet(
        self,
        url: Location,
        variables: Names = "*",
        *,
        keys: Names | None = None,
        frequency: str | None = None,
        environment: Names | None = None,
        cases: Iterable[str] | None = None,
        storage_options: dict[str, Any] | None = None,
        overwrite: bool = False,
        progress: bool = False,
    ) -> None:
        """Write what EnergyPlus reported over time as a Parquet dataset: one file a case, all with the same columns.

        pandas, Dask, polars, DuckDB and Arrow read the directory as one table.

        Args:
            url: The directory: a URL, a plain path, or a ``UPath``.
            variables: As in [timeseries][idfkit_fs.Study.timeseries]; the next four likewise.
            keys: Key values; None for all.
            frequency: The reporting frequency; None for the one at which they are reported.
            environment: Names of environments; None for the run periods.
            cases: Names of cases; None for all.
            storage_options: What the store's fsspec class takes; None for the study's own where it is in such a store.
            overwrite: Whether Parquet files that stand there may be replaced; those of other cases are removed.
            progress: Whether to show bars.

        Raises:
            FileExistsError: If Parquet files stand there, and *overwrite* is False; before any run is read.
            LocationError: If a run or a study stands there.
            NotReportedError: As [timeseries][idfkit_fs.Study.timeseries]; the others likewise.

        Examples:
            >>> study.to_parquet("s3://bucket/study-001-hourly", "Zone*", frequency="hourly")  # doctest: +SKIP
            >>> pd.read_parquet("s3://bucket/study-001-hourly", filters=[("case", "==", "case-42")])  # doctest: +SKIP
        """
        collector = self._collector(cases, progress)
        options = options_beside(to_text(url), self.fs) if storage_options is None else storage_options
        target = FsspecFileSystem.from_url(url, **options)
        if target.exists(RECORD_NAME) or target.exists(STUDY):
            raise LocationError(
                f"a run or a study stands at {redact(target.url())}; give the dataset a directory of its own"
            )
        standing = target.glob("", "*.parquet")
        if standing and not overwrite:
            message = f"{len(standing)} Parquet files stand here already; overwrite=True replaces them"
            raise ExistsError(17, message, redact(target.url()))
        readings = collector.find(self._data_of, variables, keys, frequency, environment)
        parameters = self._parameters_of(collector)
        from idfkit_fs.studies.tables import parquet_bytes, parquet_schema

        schema = parquet_schema((reading.series for reading in readings.values()), parameters)

        def write(case: str, values: Values) -> str:
            name = f"{case}.parquet"
            data = parquet_bytes(case, values, parameters[case], schema)
            retry(lambda: target.write_bytes(name, data))
            return name

        written = collector.read(readings, write)
        target.remove_if_exists({*standing} - {*written.values()})
        collector.warn()

    def _collector(self, cases: Iterable[str] | None, progress: bool) -> Collector:
        """Of the cases that were named, or all."""
        table = self._table()
        states = table.status().states()
        names = states if cases is None else table.known(cases, self.url)
        return Collector({name: states[name] for name in names}, last_name(self.url), progress)

    def _data_of(self, case: str) -> RunData:
        return self.result(case).data

    def _parameters_of(self, collector: Collector) -> dict[str, dict[str, Any]]:
        return collector.ask(lambda case: read_job(self.fs, case).parameters, "Describing")

    def download(
        self,
        cases: Iterable[str],
        directory: Location,
        *,
        include: Sequence[str] = ("**",),
        progress: bool = False,
    ) -> list[Path]:
        """Copy the runs of cases to this machine, each file checked.

        Args:
            cases: Names of cases.
            directory: A local directory; each case becomes a directory in it, which
                [open_result][idfkit_fs.open_result] opens.
            include: Glob patterns of the files to copy.
            progress: Whether to show a bar.

        Returns:
            The directories of the cases.

        Raises:
            CaseNotFoundError: If the study has no such case; before anything is copied.
            RunNotFoundError: If a case has not been run yet.
            LocationError: If *directory* is a URL.
        """
        if is_url(to_text(directory)):
            raise LocationError(f"download() copies to a local directory, not to {redact(to_text(directory))!r}")
        target, include = Path(to_text(directory)), [include] if isinstance(include, str) else include
        results = self.results(cases)
        wanted = [(result, chosen_files(result, include), target / case) for case, result in results.items()]
        total = sum(file.size for _, files, _ in wanted for file in files)
        with byte_progress_bar(total, f"Downloading {last_name(self.url)}", progress) as meter:
            parallel_map(lambda item: save(*item, meter), wanted)
        return [directory for _, _, directory in wanted]

    def remove(self, cases: str | Iterable[str], *, progress: bool = False) -> None:
        """Remove cases with their runs; models and weather files stay, for other cases may use them.

        Args:
            cases: A name, or names.
            progress: Whether to show a bar.

        Raises:
            CaseNotFoundError: If the study has no such case; before anything is removed.
        """
        table = self._table()
        names = table.known(cases, self.url)

        def remove(case: str) -> None:
            job: Job | None = None
            with contextlib.suppress(RecordError):
                job = self._job(case)
            outcomes = {*table.outcomes_of(case), *self._outcomes_of(case, job)}
            self.fs.remove_if_exists([*outcomes, f"{case}/{RECORD_NAME}"])
            self.fs.remove_if_exists([*self.fs.glob(case, "**"), job_path(case)])
            # Of a worker that saw the job until now; one that comes later clears up after itself.
            self.fs.remove_if_exists([*outcomes, *self.fs.glob(case, "**")])

        with progress_bar(len(names), f"Removing from {last_name(self.url)}", "case", progress) as done:
            parallel_map(remove, names, done)

    def _table(self) -> _Table:
        """What the listings say, asked for all at once."""
        with ThreadPoolExecutor(4) as pool:
            described = pool.submit(read_study, self.fs)
            jobs = pool.submit(self._listing, JOBS)
            ended = {state: pool.submit(self._listing, outcomes_directory(state)) for state in get_args(Ended)}
        described.result()
        return _Table(
            parse_jobs(jobs.result()), {state: parse_outcomes(listing.result()) for state, listing in ended.items()}
        )

    def _listing(self, directory: str) -> list[str]:
        return retry(lambda: self.fs.glob(directory, "*"))

    def _repr_html_(self) -> str:
        try:
            status = self.status()
        except IdfkitFsError as exc:
            return f"<p><b>{escape(repr(self))}</b><br>{escape(getattr(exc, 'strerror', None) or str(exc))}</p>"
        counts = {"ok": status.ok, "failed": status.failed, "missing": status.missing}
        head = "".join(f"<th>{state}</th>" for state in (*counts, "total"))
        body = "".join(f"<td>{count}</td>" for count in (*map(len, counts.values()), status.total))
        return (
            f"<table><caption>{escape(repr(self))}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody><tr>{body}</tr></tbody></table>"
        )


@dataclass(frozen=True)
class _Table:
    """What the listings of a study say.

    Attributes:
        jobs: The names of the cases.
        ended: For each state, the cases that ended so, with the beginnings of their keys.
    """

    jobs: list[str]
    ended: dict[Ended, dict[str, set[str]]]

    def status(self) -> StudyStatus:
        ok = {case for case in self.jobs if case in self.ended["ok"]}
        failed = {case for case in self.jobs if case in self.ended["failed"]} - ok
        missing = {*self.jobs} - ok - failed
        return StudyStatus(tuple(sorted(ok)), tuple(sorted(failed)), tuple(sorted(missing)))

    def outcomes_of(self, case: str) -> list[str]:
        """Where it stands how a case ended."""
        return [outcome_path(state, case, key) for state in get_args(Ended) for key in self.ended[state].get(case, ())]

    def known(self, cases: Iterable[str], url: str) -> list[str]:
        """The names, each once, if the study has all of them; a name alone is one."""
        names = list(dict.fromkeys([cases] if isinstance(cases, str) else cases))
        jobs = dict.fromkeys(sorted(self.jobs))
        for name in names:
            if name not in jobs:
                message = f"The study has no case {name!r}{did_you_mean(name, jobs)}"
                raise CaseNotFoundError(2, message, redact(url))
        return names


def _restore(url: str, storage_options: dict[str, Any], metrics: Metrics | None) -> Study:
    return Study(url, storage_options=storage_options, metrics=metrics)
