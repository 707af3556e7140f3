"""A study: many runs under one URL. The store holds its whole state; there is no server and no database."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from idfkit import IDFDocument
from idfkit.simulation import SimulationJob, SimulationResult

from idfkit_fs._fs.beside import options_beside
from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.messages import redact
from idfkit_fs._util.optional_deps import require
from idfkit_fs._util.parallel import parallel_map
from idfkit_fs._util.progress import byte_progress_bar, progress_bar
from idfkit_fs._util.urls import Location, last_name, to_text
from idfkit_fs.errors import IdfkitFsError, PermissionDeniedError, RunNotFoundError
from idfkit_fs.runs.download import check_chosen, chosen_files, local_directory, save
from idfkit_fs.runs.result import RunResult, open_run
from idfkit_fs.runs.simulate import ExternalFiles, JobOptions
from idfkit_fs.studies.adopt import Adoption, adopt_run, adopt_runs
from idfkit_fs.studies.choose import Cases, Choice, choose_cases
from idfkit_fs.studies.chunks import Chunks
from idfkit_fs.studies.collect import Collector, Selection
from idfkit_fs.studies.columns import Columns
from idfkit_fs.studies.consolidate import consolidate_study, keep_after_run
from idfkit_fs.studies.consolidated_cells import read_cells
from idfkit_fs.studies.display import first_names, one_line
from idfkit_fs.studies.engine import check_executor
from idfkit_fs.studies.export import BYTES_PER_FILE, write_dataset
from idfkit_fs.studies.job import Metrics, parse_metrics
from idfkit_fs.studies.layout import check_case
from idfkit_fs.studies.listing import Listing, read_listing
from idfkit_fs.studies.parametric import CaseTable, read_table
from idfkit_fs.studies.plots import Point, backend_or_default, draw_end_uses, draw_eui, draw_load_duration, points_of
from idfkit_fs.studies.prepare import Case, case_of_job
from idfkit_fs.studies.read import read_dataset, read_tabular, read_timeseries
from idfkit_fs.studies.read_parameters import read_parameters
from idfkit_fs.studies.read_summary import read_summary
from idfkit_fs.studies.report import RunReport
from idfkit_fs.studies.rows import Table, as_table
from idfkit_fs.studies.run import check_models, run_listed
from idfkit_fs.studies.status import StudyStatus
from idfkit_fs.studies.stored import has_case, read_study
from idfkit_fs.studies.verify import Verification, verify_cases
from idfkit_fs.studies.writer import StudyWriter

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from idfkit.simulation.plotting import PlotBackend

    from idfkit_fs._outputs.series import Names

__all__ = ["Study"]


class Study:
    """Many runs under one URL: prepare them here, run them anywhere, collect them from any machine.

    The store holds the whole state, so any number of machines can read, add and run cases at the same time. Creating a
    ``Study`` object sends no request to the store. ``study["case-42"]`` opens the run of a case, ``len(study)`` counts
    the cases, ``"case-42" in study`` looks one up, and ``for case in study`` gives their names.

    Args:
        url: The study's URL, a plain path, or a ``UPath``.
        storage_options: The storage options for the URL, as its fsspec filesystem takes them.
        metrics: Cells of tabular reports for the summary of every case, as ``(report, table, row, column)``, or a
            mapping of column names to such cells; case does not matter in their names, and ``*`` matches any
            characters. They are stored in the study when cases are added, and [summary][idfkit_fs.Study.summary] reads
            those that finished cases do not have yet. None keeps the study's metrics.

    Attributes:
        fs: A filesystem with the study's URL as its root.

    Raises:
        LocationError: If the URL names no bucket or directory.
        StorageOptionsError: If the filesystem does not know a storage option.
        ValueError: If a metric is invalid.

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
        self._writer = StudyWriter(self.fs, self._metrics)

    @property
    def url(self) -> str:
        """The study's URL."""
        return self.fs.url()

    def __repr__(self) -> str:
        return f"Study({redact(self.url)!r})"

    def _repr_html_(self) -> str:
        try:
            return self.status().html(repr(self))
        except IdfkitFsError as exc:
            return f"<p><b>{escape(repr(self))}</b><br>{escape(one_line(exc))}</p>"

    def __reduce__(self) -> Any:
        metrics = None if self._metrics is None else {metric.name: metric.cell for metric in self._metrics}
        return _restore, (self.url, self.fs.storage_options, metrics)

    # A collection of cases.

    def __len__(self) -> int:
        """The number of cases, from the listings of the study."""
        return len(self._list().cases)

    def __bool__(self) -> bool:
        """True, without asking the store: ``if study:`` means "does a ``Study`` object exist"."""
        return True

    def __iter__(self) -> Iterator[str]:
        """The names of the cases, sorted, from the listings of the study.

        Python asks for the length too where it makes a list; [cases][idfkit_fs.Study.cases] asks the store once.
        """
        return iter(self._list().cases)

    def __contains__(self, case: object) -> bool:
        """Whether the study has a case of this name, by its job alone."""
        return has_case(self.fs, case)

    def __getitem__(self, case: str) -> RunResult:
        """The run of a case, as [result][idfkit_fs.Study.result] opens it.

        Raises:
            CaseNotFoundError: If the study has no such case; a ``KeyError``. The message names the nearest.
            RunNotFoundError: If the case is pending.
            StudyNotFoundError: If there is no study.

        Examples:
            >>> study["case-42"].timeseries("Electricity:Facility")  # doctest: +SKIP
        """
        return self.result(case)

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
        external_files: ExternalFiles = "copy",
        **options: Unpack[JobOptions],
    ) -> None:
        """Add a case. For many cases, [add_cases][idfkit_fs.Study.add_cases] is faster.

        Adding the same case again changes nothing.

        Args:
            case: The case's name, which becomes a directory of the study.
            model: An idfkit document; or a path, a URL or a ``UPath`` of an IDF, epJSON or macro file (``.imf``).
            weather: A path or URL of a weather file (EPW); None for a design-day run.
            parameters: What describes the case: a mapping, or a row of a DataFrame such as ``df.iloc[0]``. NaN and
                None are missing values; numbers of NumPy, times, paths and the like become JSON. They become columns
                of the summary.
            metrics: Cells of tabular reports for this case's summary, in addition to the study's metrics.
            include: Glob patterns of the files to publish; by default all output files.
            exclude: Glob patterns of files to leave out.
            overwrite: Whether to replace another case of this name. Its run is removed, unless the new case asks for
                the same run.
            external_files: ``"copy"`` to store every other file that the model reads in the study: the files that its
                objects name, the modules of Python plugins, and the ``.stat`` beside the weather file. Relative names
                are looked up beside the model, then in the working directory. ``"leave"`` leaves the paths in the
                model alone, for files that only the workers have; such a case is never copied from another.
            **options: Keywords of ``idfkit.simulation.simulate``, such as
                ``annual=True``.

        Raises:
            CaseExistsError: If the study has another case of this name, and *overwrite* is False.
            RunExistsError: If the study's URL is that of a run.
            ModelError: If the model, the weather file, or a file that the model names is missing or cannot be read;
                before anything is stored.
            LocationError: If *case* cannot be the name of a case.
            RecordError: If the study or the existing job is damaged, or of a newer format.
            TypeError: If idfkit does not know a keyword.
            ValueError: If a metric is invalid, or a parameter cannot be JSON or has the name of another column of the
                summary.

        Examples:
            >>> study.add("wwr-0.4", model, "chicago.epw", annual=True, parameters={"wwr": 0.4})  # doctest: +SKIP
        """
        given = {} if parameters is None else parameters
        added = Case(case, model, weather, given, metrics, include, exclude, options, external_files)
        self.add_cases([added], overwrite=overwrite)

    def add_jobs(
        self,
        jobs: Iterable[SimulationJob],
        *,
        overwrite: bool = False,
        external_files: ExternalFiles = "copy",
        progress: bool = False,
    ) -> None:
        """Add the jobs of idfkit's ``simulate_batch`` as cases.

        Args:
            jobs: The jobs. The name of each case is the job's ``label``, or the last part of its ``output_dir``.
            overwrite: As in [add][idfkit_fs.Study.add].
            external_files: As in [add][idfkit_fs.Study.add].
            progress: Whether to show a progress bar.

        Raises:
            LocationError: If a job has neither a label nor an output directory.
            CaseExistsError: As in [add][idfkit_fs.Study.add], which lists further exceptions.

        Examples:
            >>> study.add_jobs([SimulationJob(model, "chicago.epw", label="base", annual=True)])  # doctest: +SKIP
        """
        self.add_cases([case_of_job(job, external_files) for job in jobs], overwrite=overwrite, progress=progress)

    def add_cases(self, cases: Iterable[Case], *, overwrite: bool = False, progress: bool = False) -> None:
        """Add many cases in parallel. A model or weather file that several cases share is uploaded once.

        Args:
            cases: The cases; from a generator, the next case is taken only when the store is ready for it.
            overwrite: As in [add][idfkit_fs.Study.add].
            progress: Whether to show a progress bar.

        Raises:
            CaseExistsError: As in [add][idfkit_fs.Study.add], which lists further exceptions. Cases before the invalid
                one may have been added; adding them again changes nothing.
            TypeError: If an item is not a [Case][idfkit_fs.Case].

        Examples:
            >>> study.add_cases(
            ...     Case(f"wwr-{wwr}", office(wwr), "chicago.epw", {"wwr": wwr}, options={"annual": True})
            ...     for wwr in (0.2, 0.4, 0.6)
            ... )  # doctest: +SKIP
        """
        self._writer.add(cases, overwrite, progress)

    def add_table(
        self,
        frame: pd.DataFrame | Iterable[Mapping[str, Any]],
        build: Callable[[dict[str, Any]], IDFDocument | Location],
        *,
        weather: Location | Callable[[dict[str, Any]], Location | None] | None = None,
        name: str | None = None,
        metrics: Metrics = (),
        include: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
        overwrite: bool = False,
        external_files: ExternalFiles = "copy",
        progress: bool = False,
        **options: Unpack[JobOptions],
    ) -> None:
        """Add a case for each row of a table, with the row as its parameters.

        All rows are checked before the first model is built; then models are built one after the other, while others
        are uploaded, and none is kept. Adding the same table again changes nothing, and adds rows that are new.

        Args:
            frame: A DataFrame, or a sequence of mappings.
            build: Builds the model of a row: takes the row as a dictionary, and returns an idfkit document, or the path
                or URL of a file. It is called in this thread, so it may change and return the same document each time.
                The dictionary has Python's own types: a whole number stays one, as it does not in ``df.iloc[0]``.
            weather: A path or URL of a weather file (EPW), or a function of the row that returns one; None for
                design-day runs.
            name: A pattern for the names of the cases, with the columns in braces, such as ``"{city}-{wwr:.2f}"``;
                ``{index}`` is the row's label. By default the labels of the index are the names; numbers become
                ``case-0`` and so on.
            metrics: Cells of tabular reports for these cases' summaries, in addition to the study's metrics.
            include: Glob patterns of the files to publish; by default all output files.
            exclude: Glob patterns of files to leave out.
            overwrite: As in [add][idfkit_fs.Study.add].
            external_files: As in [add][idfkit_fs.Study.add].
            progress: Whether to show a progress bar.
            **options: Keywords of ``idfkit.simulation.simulate``, such as
                ``annual=True``.

        Raises:
            ModelError: If *build* fails or returns no model; the message names the case. Cases before it were added;
                adding the table again changes nothing about them.
            LocationError: If a name cannot be the name of a case; before anything is stored.
            TypeError: If *frame* is not a table, or idfkit does not know a keyword.
            ValueError: If a row has no name, two rows have the same, the pattern names no column, or a value cannot be
                a parameter; before anything is stored.
            CaseExistsError: As in [add][idfkit_fs.Study.add], which lists further exceptions.

        Examples:
            >>> table = pd.DataFrame({"wwr": [0.2, 0.4, 0.6]})  # doctest: +SKIP
            >>> study.add_table(table, lambda row: office(row["wwr"]), weather="chicago.epw", name="wwr-{wwr}")
            ... # doctest: +SKIP
        """

        def make_case(
            name: str, model: IDFDocument | Location, weather: Location | None, parameters: dict[str, Any]
        ) -> Case:
            return Case(name, model, weather, parameters, metrics, include, exclude, options, external_files)

        table = CaseTable(read_table(frame, name, metrics), build, weather, make_case)
        self.add_cases(table, overwrite=overwrite, progress=progress)

    def remove(self, cases: Cases, *, progress: bool = False) -> None:
        """Remove cases with their runs. Models and weather files stay, because other cases may use them.

        What a removal that was killed has left of cases that do not exist any more, `verify(repair=True)` removes.

        Args:
            cases: Which cases, as in [Cases][idfkit_fs.Cases].
            progress: Whether to show a progress bar.

        Raises:
            CaseNotFoundError: If the study has no such case, or no case fits a pattern or a filter; then nothing is
                removed.
            StudyNotFoundError: If there is no study.

        Examples:
            >>> study.remove(["case-42", "case-43"])  # doctest: +SKIP
        """
        listing = self._list()
        self._writer.remove(listing, choose_cases(self.fs, listing, cases), progress)

    # Take in runs that exist already.

    def adopt(
        self,
        case: str,
        source: SimulationResult | Location,
        *,
        parameters: Mapping[str, Any] | None = None,
        metrics: Metrics = (),
        output_prefix: str | None = None,
        overwrite: bool = False,
    ) -> None:
        """Make a case of a run that exists already, without simulating. For many, `adopt_many` is faster.

        The run is copied into the study, with its outputs only, as [publish][idfkit_fs.publish] does; one that is at
        the case's URL already stays in place. A run that EnergyPlus ended with an error becomes a failed case. What an
        adopted case ran is unknown, so [run][idfkit_fs.Study.run] never runs it, nor copies it for another case.
        Adopting the same again changes nothing.

        Args:
            case: The case's name, which becomes a directory of the study.
            source: The directory of a run, a URL, or a result, as in [publish][idfkit_fs.publish]. The study's storage
                options are used for a URL on the same kind of store.
            parameters: As in [add][idfkit_fs.Study.add].
            metrics: Cells of tabular reports for this case's summary, in addition to the study's metrics.
            output_prefix: As in [publish][idfkit_fs.publish].
            overwrite: Whether to replace another case of this name with its run, or a run at its URL.

        Raises:
            CaseExistsError: If the study has another case of this name, or another run exists at its URL, and
                *overwrite* is False.
            RunExistsError: If the study's URL is that of a run.
            RunNotFoundError: If *source* contains no run, or several and no *output_prefix*; the message lists them.
            UnfinishedRunError: If the outputs of the run are cut.
            DamagedRunError: If a file differs from the run's record, or changed meanwhile.
            LocationError: If *case* cannot be the name of a case.
            RecordError: If the study, the existing job or the run's record is damaged, or of a newer format.
            PublishError: If the files of a local directory could not be copied into the study.
            ValueError: If a metric is invalid, or a parameter cannot be JSON or has the name of another column of the
                summary.

        Examples:
            >>> study.adopt("case-7", "runs/7", parameters={"wwr": 0.4})  # doctest: +SKIP
        """
        given = {} if parameters is None else parameters
        adopt_run(self._writer, Adoption(case, source, given, metrics, output_prefix), overwrite)

    def adopt_many(
        self,
        runs: Mapping[str, SimulationResult | Location] | Iterable[Adoption],
        *,
        overwrite: bool = False,
        progress: bool = False,
    ) -> RunReport:
        """Make cases of many runs that exist already, in parallel, as [adopt][idfkit_fs.Study.adopt] does.

        Args:
            runs: The runs by the names of the cases; or [Adoption][idfkit_fs.Adoption] objects, which have parameters.
            overwrite: As in [adopt][idfkit_fs.Study.adopt].
            progress: Whether to show a progress bar.

        Returns:
            The cases and their states; ``print`` shows the counts.

        Raises:
            IncompleteRunError: If some of the runs cannot be adopted; the others were. Its ``errors`` has the reason
                for each.
            ValueError: If two runs have the same name, or as in [adopt][idfkit_fs.Study.adopt]; then none is adopted.
            TypeError: If an item is not an [Adoption][idfkit_fs.Adoption].

        Examples:
            >>> print(study.adopt_many({path.name: path for path in Path("runs").iterdir()}))  # doctest: +SKIP
            1000 cases: 1000 adopted; 3 of them failed
        """
        return adopt_runs(self._writer, runs, overwrite, progress)

    # Run.

    def run(
        self,
        cases: Cases | None = None,
        *,
        states: Collection[str] = ("pending",),
        executor: Executor | None = None,
        max_workers: int | None = None,
        reuse: Study | Location | Literal[False] | None = None,
        progress: bool = False,
    ) -> RunReport:
        """Run cases, in this process or on an engine.

        A case that asks for a run that exists already is copied instead of simulated, unless another version of
        EnergyPlus made that run, or the case was added with ``external_files="leave"``. A case that EnergyPlus ends
        with an error is ``failed``, and the other cases go on. An interrupt (Ctrl-C) stops EnergyPlus; cases that were
        running stay pending.

        Args:
            cases: Which cases, as in [Cases][idfkit_fs.Cases]. A case that is named is run unless it is ok; of the
                cases that fit a pattern or a filter, or of all if this is None, those in *states* are run. A login that
                may not list can run named cases, but not again those that failed.
            states: ``"pending"``, ``"failed"``, or both.
            executor: Any ``concurrent.futures.Executor``, such as a process pool or
                ``dask.distributed.Client(...).get_executor()``; its workers receive the storage options. None runs
                the cases in this process, with EnergyPlus in processes of its own.
            max_workers: The number of simulations at the same time in this process; by default the number of
                processors that this process may use.
            reuse: Another study whose runs may be copied too. For a URL, this study's storage options are used. False
                to simulate each case, and copy none.
            progress: Whether to show a progress bar.

        Returns:
            How each case was run; ``print`` shows the counts.

        Raises:
            IncompleteRunError: If some cases could not be run for a reason outside EnergyPlus, such as a store that
                does not answer. The other cases were run; running the study again runs the rest. Refused access and
                a missing EnergyPlus stop the run immediately, because every other case would fail too.
            CaseNotFoundError: If a name, a pattern or the filter in *cases* fits no case; then nothing is run.
            StudyNotFoundError: If there is no study.
            ModelError: If a case that is named failed and was adopted, so that its model is unknown; then nothing is
                run. With ``"failed"`` in *states*, such cases are left as they are.
            TypeError: If *executor* is not a ``concurrent.futures.Executor``; then nothing is submitted.
            ValueError: If a state is unknown, or *max_workers* is less than 1.

        Examples:
            >>> print(study.run(max_workers=8, progress=True))  # doctest: +SKIP
            1000 cases: 940 simulated, 60 reused
            >>> print(study.run({"city": ["chicago", "miami"]}))  # doctest: +SKIP
            200 cases: 200 simulated
        """
        check_executor(executor)
        states = {states} if isinstance(states, str) else {*states}
        unknown = states - {"pending", "failed"}
        if unknown:
            raise ValueError(f"states can be 'pending' and 'failed', not {unknown.pop()!r}")
        if max_workers is not None and max_workers < 1:
            raise ValueError(f"max_workers must be at least 1, not {max_workers}")
        choice = None if cases is None else Choice.of(cases)
        listing = self._list_for(choice)
        known = listing.states()
        named = set(choice.named) if choice else set()
        fitting = known if choice is None else choose_cases(self.fs, listing, choice)
        chosen = [case for case in fitting if case in named or known[case] in states]
        if named and "failed" not in states and reuse is not False:
            check_models(self.fs, listing, chosen)
        if reuse is not None and reuse is not False:
            reuse = reuse if isinstance(reuse, Study) else Study(reuse, storage_options=self.fs.storage_options)
        report = run_listed(
            self.fs,
            listing,
            chosen,
            executor=executor,
            max_workers=max_workers,
            reuse=reuse.fs if isinstance(reuse, Study) else reuse,
            progress=progress,
        )
        ran = {run.case for run in report.runs if run.how != "found"}
        if ran.issuperset(listing.status().pending):  # all of the study, and no share of it
            keep_after_run(self.fs, len(ran))
        return report

    # Collect.

    def cases(self, cases: Cases | None = None) -> list[str]:
        """The names of cases, sorted.

        Args:
            cases: Which cases, as in [Cases][idfkit_fs.Cases]; None for all.

        Raises:
            CaseNotFoundError: If a name, a pattern or the filter in *cases* fits no case.
            StudyNotFoundError: If there is no study.

        Examples:
            >>> study.cases()  # doctest: +SKIP
            ['case-41', 'case-42']
            >>> study.cases({"wwr": 0.4})  # doctest: +SKIP
            ['case-42']
        """
        listing = self._list()
        return [*listing.cases] if cases is None else sorted(choose_cases(self.fs, listing, cases))

    def status(self) -> StudyStatus:
        """The cases by their state. This takes a few listings, for any number of cases.

        Raises:
            StudyNotFoundError: If there is no study.
            RecordError: If the study is damaged, or of a newer format.

        Examples:
            >>> print(study.status())  # doctest: +SKIP
            1000 cases: 940 ok, 3 failed, 57 pending
        """
        return self._list().status()

    def result(self, case: str) -> RunResult:
        """Open the run of a case.

        Args:
            case: The case's name.

        Returns:
            The result, as [open_result][idfkit_fs.open_result] returns it.

        Raises:
            CaseNotFoundError: If the study has no such case.
            RunNotFoundError: If the case is pending, or its files were removed behind the study's back.
            RecordError: If the run's record is damaged, or of a newer format.

        Examples:
            >>> study.result("case-42").timeseries("Zone Mean Air Temperature")  # doctest: +SKIP
        """
        check_case(case)
        try:
            return open_run(self.fs.joinpath(case))
        except RunNotFoundError as exc:
            listing = self._list()
            choose_cases(self.fs, listing, case)
            state = listing.state(case)
            text = f"Case {case!r} has no run yet; run the study first"
            if state != "pending":
                text = (
                    f"The run of case {case!r} is missing, although the case is {state}: its files expired or were "
                    "removed; run the case by its name, which simulates it again"
                )
            raise RunNotFoundError.for_url(self.fs.url(case), text) from exc

    def results(self, cases: Cases | None = None, *, progress: bool = False) -> dict[str, RunResult]:
        """Open the runs of many cases in parallel. Of each run, only the record is read.

        Args:
            cases: Which cases, as in [Cases][idfkit_fs.Cases]. Of the cases that fit a pattern or a filter, or of all
                if this is None, those that have been run, including failed ones.
            progress: Whether to show a progress bar.

        Returns:
            The results, by case.

        Raises:
            CaseNotFoundError: If a name, a pattern or the filter in *cases* fits no case.
            RunNotFoundError: If a case that is named is pending, or all that fit a pattern or a filter are.
            StudyNotFoundError: If there is no study.

        Examples:
            >>> {case: result.success for case, result in study.results().items()}  # doctest: +SKIP
        """
        choice = None if cases is None else Choice.of(cases)
        listing = self._list_for(choice)
        states = listing.states()
        named = set(choice.named) if choice else set()
        fitting = states if choice is None else choose_cases(self.fs, listing, choice)
        names = [case for case in fitting if case in named or states[case] != "pending"]
        if choice and fitting and not names:
            text = f"None of the cases that were chosen has a run yet ({first_names([*fitting])}); run the study first"
            raise RunNotFoundError.for_url(self.url, text)
        with progress_bar(len(names), f"Opening {last_name(self.url)}", "case", progress) as done:
            return dict(zip(names, parallel_map(self.result, names, done), strict=True))

    def summary(self, *, progress: bool = False) -> pd.DataFrame:
        """The summary of each case, which its worker wrote.

        No result file is read, except for metrics that were added after a case had ended: those are read from its
        ``tabular.parquet``, or else from its ``.sql`` file.

        Args:
            progress: Whether to show a progress bar.

        Returns:
            One row a case, including failed and pending cases; the index is the case's name. Columns: the state, the
            parameters, the fields of [Summary][idfkit_fs.Summary] (energies in kWh, areas in m2, demands in W), end
            uses such as ``heating_natural_gas_kwh``, peaks such as ``peak_electricity_w``, the metrics,
            ``runtime_seconds`` of EnergyPlus, and ``message``: the error of the case, or why a figure is missing. The
            columns of on-site electricity exist if a case has any. A metric has the units of the first case that
            has it, in ``attrs["units"]``; other cases are converted, or have no value and say so. A case whose job or
            outcome cannot be read has the state ``"damaged"``.

        Raises:
            MissingExtraError: If pandas is not installed.
            StudyNotFoundError: If there is no study.
            ValueError: If a parameter has the name of another column.

        Examples:
            >>> study.summary().pivot_table("eui_kwh_m2", "wwr", "city")  # doctest: +SKIP
        """
        require("pandas", "pandas", "summary()")
        from idfkit_fs.studies.tables import summary_frame

        return summary_frame(self._table(progress))

    def summary_rows(self, *, progress: bool = False) -> tuple[list[str], list[dict[str, Any]]]:
        """The same as [summary][idfkit_fs.Study.summary], without pandas.

        Args:
            progress: Whether to show a progress bar.

        Returns:
            The columns, ``case`` first, and one row a case. A row has no entry where the case has no value.

        Raises:
            StudyNotFoundError: If there is no study.
            ValueError: If a parameter has the name of another column.

        Examples:
            >>> columns, rows = study.summary_rows()  # doctest: +SKIP
            >>> [row["case"] for row in rows if row["state"] == "failed"]  # doctest: +SKIP
        """
        table = self._table(progress)
        return [*table.columns], table.rows()

    def _table(self, progress: bool) -> Table:
        return as_table(*self._read_summary(self._list(), progress))

    def _read_summary(self, listing: Listing, progress: bool) -> tuple[Sequence[str], Sequence[str], Columns]:
        metrics = listing.metrics if self._metrics is None else self._metrics
        return read_summary(self.fs, listing, metrics, self.result, progress)

    def _points(self, cases: Cases | None) -> list[Point]:
        listing = self._list()
        chosen = {*(listing.cases if cases is None else choose_cases(self.fs, listing, cases))}
        return [point for point in points_of(*self._read_summary(listing, False)) if point.case in chosen]

    def consolidate(self, *, tabular: bool = False, progress: bool = False) -> int:
        """Keep what all outcomes say in one object, so that [summary][idfkit_fs.Study.summary] reads it at once.

        [run][idfkit_fs.Study.run] of all cases and [summary][idfkit_fs.Study.summary] do it by themselves where it
        pays and the login may write; others read without it. What is kept only counts for outcomes that have not
        changed since, so it never needs to be removed.

        Args:
            tabular: Whether to keep all cells of the tabular reports of cases that are ok too, sorted so that
                [tabular][idfkit_fs.Study.tabular] reads one cell of all cases at once. They are read from each run,
                and merged in the temporary directory.
            progress: Whether to show a progress bar.

        Returns:
            The number of cases whose outcomes, or, if they are pending, whose parameters are kept.

        Raises:
            MissingExtraError: If *tabular* is True, and pyarrow is not installed.
            StudyNotFoundError: If there is no study.
            PermissionError: If the store refuses to write.

        Examples:
            >>> study.consolidate()  # doctest: +SKIP
            1000
        """
        return consolidate_study(self.fs, self._list(), self.result, tabular, progress)

    def timeseries(
        self,
        variables: Names = "*",
        *,
        keys: Names | None = None,
        frequency: str | None = None,
        environment: Names | None = None,
        cases: Cases | None = None,
        progress: bool = False,
    ) -> pd.DataFrame:
        """Read the series of output variables and meters of many cases.

        Cases without data (failed, pending, or without these series) are left out, with a warning;
        ``attrs["without_data"]`` has the reason for each.

        Args:
            variables: Names of output variables and meters, as in
                [RunResult.timeseries][idfkit_fs.RunResult.timeseries].
            keys: Key values, such as names of zones; None for all.
            frequency: The reporting frequency, such as ``"hourly"``; None for the one at which they are reported.
            environment: Names of environments; None for the run periods.
            cases: Which cases, as in [Cases][idfkit_fs.Cases]; None for all.
            progress: Whether to show progress bars.

        Returns:
            One column a series, named and with the ``attrs`` as in
            [RunResult.timeseries][idfkit_fs.RunResult.timeseries]. The index is the case's name and the end of the
            interval, with the environment's name between them if a case has several environments.

        Raises:
            NotReportedError: If no case reports such series; the message lists the nearest names.
            ValueError: If the series are reported at several frequencies and *frequency* is None.
            CaseNotFoundError: If a name, a pattern or the filter in *cases* fits no case.
            StudyNotFoundError: If there is no study.
            MissingExtraError: If pandas or pyarrow is not installed.

        Examples:
            >>> study.timeseries("Electricity:Facility")["Electricity:Facility [J](Hourly)"].unstack("case")
            ... # doctest: +SKIP
        """
        return read_timeseries(self._collector(cases, progress), Selection(variables, keys, frequency, environment))

    def tabular(
        self,
        report: str = "*",
        table: str = "*",
        row: str = "*",
        column: str = "*",
        *,
        cases: Cases | None = None,
        progress: bool = False,
    ) -> pd.DataFrame:
        """Read cells of the tabular reports of many cases.

        Cases without data are left out, with a warning, as in [timeseries][idfkit_fs.Study.timeseries].

        Args:
            report: The report's name, such as ``"AnnualBuildingUtilityPerformanceSummary"``; in all names, case does
                not matter and ``*`` matches any characters.
            table: The table's name, such as ``"End Uses"``.
            row: The row's name, such as ``"Heating"``.
            column: The column's name, such as ``"District Heating Water"``.
            cases: Which cases, as in [Cases][idfkit_fs.Cases]; None for all.
            progress: Whether to show a progress bar.

        Returns:
            One row a cell, with the columns of [RunResult.tabular][idfkit_fs.RunResult.tabular]; the index is the
            case's name.

        Raises:
            NotReportedError: If no case has such a cell; the message lists the nearest names.
            ValueError: If a number has different units in different cases.
            CaseNotFoundError: If a name, a pattern or the filter in *cases* fits no case.
            StudyNotFoundError: If there is no study.
            MissingExtraError: If pandas or pyarrow is not installed.

        Examples:
            >>> study.tabular("AnnualBuilding*", "End Uses", "Heating", "District Heating Water")["number"]
            ... # doctest: +SKIP
        """
        names = (report, table, row, column)
        listing = self._list()
        chosen = None if cases is None else choose_cases(self.fs, listing, cases)
        kept = read_cells(self.fs, listing, listing.cases if chosen is None else chosen, *names)
        return read_tabular(self._collector(chosen, progress, listing), kept, self.result, names)

    def to_xarray(
        self,
        variables: Names = "*",
        *,
        keys: Names | None = None,
        frequency: str | None = None,
        environment: Names | None = None,
        cases: Cases | None = None,
        chunks: Chunks | None = None,
        progress: bool = False,
    ) -> xr.Dataset:
        """Read the series of output variables and meters of many cases as a dataset.

        The dataset has space for each key value and each time of every case. What does not fit into memory is opened
        with *chunks*: then only names and times are read, and each chunk is read by the worker of Dask's that needs
        it. Cases without data are left out, with a warning.

        Args:
            variables: Names of output variables and meters, as in [timeseries][idfkit_fs.Study.timeseries].
            keys: Key values, such as names of zones; None for all.
            frequency: The reporting frequency, such as ``"hourly"``; None for the one at which they are reported.
            environment: Names of environments; None for the run periods.
            cases: Which cases, as in [Cases][idfkit_fs.Cases]; None for all.
            chunks: None to read the values into memory. Otherwise Dask arrays, as of xarray's ``open_dataset``: the
                number of cases in a chunk, -1 for all of them, or ``"auto"`` for as many as take 8 MiB; or
                ``{"case": ...}`` with one of these. Times and key values are not divided.
            progress: Whether to show progress bars.

        Returns:
            One array a variable, with the dimensions ``case``, ``key`` and ``time``; meters and variables of the
            whole site have no ``key``. The parameters are coordinates of the cases. A value is NaN where a case has
            no such key value or time. ``attrs["without_data"]`` lists the cases without data, if there are any. With
            *chunks*, computing raises ``DamagedRunError`` if a case has changed since.

        Raises:
            NotReportedError: If no case reports such series; the message lists the nearest names.
            ValueError: If the series are reported at several frequencies and *frequency* is None, if several
                environments have values for the same time, if a parameter has the name of a variable, or if *chunks*
                is invalid.
            CaseNotFoundError: If a name, a pattern or the filter in *cases* fits no case.
            StudyNotFoundError: If there is no study.
            MissingExtraError: If xarray or pyarrow is not installed, or Dask for *chunks*.

        Examples:
            >>> ds = study.to_xarray("Zone Mean Air Temperature")  # doctest: +SKIP
            >>> ds["Zone Mean Air Temperature"].sel(key="OFFICE").quantile(0.95, "time")  # doctest: +SKIP
            >>> lazy = study.to_xarray("Zone*", frequency="hourly", chunks="auto")  # doctest: +SKIP
            >>> lazy.to_zarr("s3://bucket/zones.zarr", storage_options=study.fs.storage_options)  # doctest: +SKIP
        """
        selection = Selection(variables, keys, frequency, environment)
        return read_dataset(self._collector(cases, progress), selection, chunks)

    def to_parquet(
        self,
        url: Location,
        variables: Names = "*",
        *,
        keys: Names | None = None,
        frequency: str | None = None,
        environment: Names | None = None,
        cases: Cases | None = None,
        storage_options: dict[str, Any] | None = None,
        overwrite: bool = False,
        executor: Executor | None = None,
        bytes_per_file: int = BYTES_PER_FILE,
        progress: bool = False,
    ) -> None:
        """Write the series of output variables and meters of many cases as a Parquet dataset.

        The dataset is a directory of files such as ``part-00000-of-00007.parquet``. Each file has many cases, with a
        row group a case; all files have the same columns. pandas, Dask, polars, DuckDB and Arrow read the directory as
        one table, and of the cases that a filter selects only the row groups. Cases without data are left out, with a
        warning.

        The files are written to the directory ``_unfinished`` in it, and moved when all are complete: until then an
        existing dataset stays as it is. One client at a time may write a dataset.

        Args:
            url: The directory: a URL, a plain path, or a ``UPath``.
            variables: Names of output variables and meters, as in [timeseries][idfkit_fs.Study.timeseries].
            keys: Key values, such as names of zones; None for all.
            frequency: The reporting frequency, such as ``"hourly"``; None for the one at which they are reported.
            environment: Names of environments; None for the run periods.
            cases: Which cases, as in [Cases][idfkit_fs.Cases]; None for all.
            storage_options: The storage options for *url*; None to use the study's own for a URL of the same protocol.
            overwrite: Whether to replace the Parquet files in the directory.
            executor: What writes the files: any executor whose workers reach both URLs, such as a
                ``ProcessPoolExecutor`` or Dask's ``client.get_executor()``; None for this process.
            bytes_per_file: About how large a file becomes, 128 MiB by default; a case is never divided.
            progress: Whether to show progress bars.

        Raises:
            ExistsError: If the directory contains Parquet files, and *overwrite* is False; then no run is read. Or if
                another client writes the same dataset.
            LocationError: If *url* is a run or a study.
            TypeError: If *executor* is not a ``concurrent.futures.Executor``.
            NotReportedError: If no case reports such series; the message lists the nearest names.
            ValueError: If the series are reported at several frequencies and *frequency* is None, or if a parameter
                has the name of a column.
            CaseNotFoundError: If a name, a pattern or the filter in *cases* fits no case.
            ValueError: If the series are reported at several frequencies and *frequency* is None, if a parameter has
                the name of a column, or if *bytes_per_file* is less than 1.
            CaseNotFoundError: If a name, a pattern or the filter in *cases* fits no case.
            StudyNotFoundError: If there is no study.
            MissingExtraError: If pandas or pyarrow is not installed.

        Examples:
            >>> study.to_parquet("s3://bucket/study-001-hourly", "Zone*", frequency="hourly")  # doctest: +SKIP
            >>> pd.read_parquet("s3://bucket/study-001-hourly", filters=[("case", "==", "case-42")])  # doctest: +SKIP
        """
        check_executor(executor)
        collector = self._collector(cases, progress)
        options = options_beside(to_text(url), self.fs) if storage_options is None else storage_options
        target = FsspecFileSystem.from_url(url, **options)
        selection = Selection(variables, keys, frequency, environment)
        write_dataset(collector, selection, target, overwrite, executor, bytes_per_file)

    def plot_eui(self, parameter: str, *, cases: Cases | None = None, backend: PlotBackend | None = None) -> Any:
        """Plot the energy use intensity of the cases by a parameter.

        A number is the x axis, with a line for each combination of the other parameters, or with points if lines would
        join nothing, or there would be more than ten. A text has a bar for each value, or points.

        Cases without an EUI (failed, pending, or not of one year) are left out, with a warning.

        Args:
            parameter: The name of the parameter.
            cases: Which cases, as in [Cases][idfkit_fs.Cases]; None for all.
            backend: What draws, such as idfkit's ``PlotlyBackend()``; None for matplotlib if it is installed, otherwise
                plotly.

        Returns:
            The figure of the backend, such as a matplotlib ``Figure``.

        Raises:
            NotReportedError: If no case has such a parameter, or none has an EUI.
            CaseNotFoundError: If a name, a pattern or the filter in *cases* fits no case.
            StudyNotFoundError: If there is no study.
            MissingExtraError: If neither matplotlib nor plotly is installed.

        Examples:
            >>> study.plot_eui("wwr").savefig("eui.png")  # doctest: +SKIP
        """
        backend = backend_or_default(backend)
        return draw_eui(self._points(cases), parameter, backend)

    def plot_end_uses(self, *, cases: Cases | None = None, backend: PlotBackend | None = None) -> Any:
        """Plot the end uses of each case as a stacked bar, per floor area, all fuels together.

        Cases without end uses (failed, pending, or without the report) are left out, with a warning.

        Args:
            cases: Which cases, as in [Cases][idfkit_fs.Cases]; None for all.
            backend: As in [plot_eui][idfkit_fs.Study.plot_eui].

        Returns:
            The figure of the backend, such as a matplotlib ``Figure``.

        Raises:
            NotReportedError: If no case has end uses and a floor area.
            CaseNotFoundError: If a name, a pattern or the filter in *cases* fits no case.
            StudyNotFoundError: If there is no study.
            MissingExtraError: If neither matplotlib nor plotly is installed.

        Examples:
            >>> study.plot_end_uses().savefig("end-uses.png")  # doctest: +SKIP
        """
        backend = backend_or_default(backend)
        return draw_end_uses(self._points(cases), backend)

    def plot_load_duration(
        self,
        variable: str = "Electricity:Facility",
        *,
        keys: Names | None = None,
        frequency: str | None = None,
        environment: Names | None = None,
        cases: Cases | None = None,
        backend: PlotBackend | None = None,
    ) -> Any:
        """Plot the load duration curve of each case: for how many hours a load is at least so high.

        Energies (J) are shown as the mean power of each interval. Cases without data are left out, with a warning, as
        in [timeseries][idfkit_fs.Study.timeseries].

        Args:
            variable: The name of a meter or an output variable.
            keys: The key value, where the variable has several.
            frequency: The reporting frequency, such as ``"hourly"``; None for the one at which it is reported.
            environment: Names of environments; None for the run periods.
            cases: Which cases, as in [Cases][idfkit_fs.Cases]; None for all.
            backend: As in [plot_eui][idfkit_fs.Study.plot_eui].

        Returns:
            The figure of the backend, such as a matplotlib ``Figure``.

        Raises:
            NotReportedError: If no case reports it; the message lists the nearest names.
            ValueError: If several series match, if it is reported at several frequencies and *frequency* is None, or
                if its intervals are longer than a day, or not equal.
            CaseNotFoundError: If a name, a pattern or the filter in *cases* fits no case.
            StudyNotFoundError: If there is no study.
            MissingExtraError: If neither matplotlib nor plotly is installed, or pandas or pyarrow is not.

        Examples:
            >>> study.plot_load_duration("Electricity:Facility").savefig("load.png")  # doctest: +SKIP
        """
        backend = backend_or_default(backend)
        selection = Selection(variable, keys, frequency, environment)
        return draw_load_duration(read_timeseries(self._collector(cases, False), selection), variable, backend)

    def _collector(self, cases: Cases | None, progress: bool, listing: Listing | None = None) -> Collector:
        """What reads some cases, or all."""
        listing = listing or self._list()
        states = listing.states()
        names = states if cases is None else choose_cases(self.fs, listing, cases)
        return Collector(
            {name: states[name] for name in names},
            open_run=self.result,
            parameters_of=lambda cases, done: read_parameters(self.fs, listing, cases, done),
            title=last_name(self.url),
            progress=progress,
        )

    def download(
        self,
        cases: Cases,
        directory: Location,
        *,
        include: Sequence[str] = ("**",),
        overwrite: bool = False,
        progress: bool = False,
    ) -> list[Path]:
        """Download the runs of cases. Each file is checked against the run's record, and written through no link.

        Args:
            cases: Which cases, as in [Cases][idfkit_fs.Cases]; of those that fit a pattern or a filter, the ones that
                have been run.
            directory: A local directory. Each case becomes a directory in it, which
                [open_result][idfkit_fs.open_result] opens.
            include: Glob patterns of the files to download.
            overwrite: Whether to replace files in *directory* that differ from the runs'.
            progress: Whether to show a progress bar.

        Returns:
            The directories of the cases.

        Raises:
            CaseNotFoundError: If a name, a pattern or the filter in *cases* fits no case; then nothing is downloaded.
            RunNotFoundError: If a case that is named is pending, or all that fit a pattern or a filter are.
            RunExistsError: If another run was downloaded into the directory of a case before.
            ExistsError: If there is a file that is not the run's, or a link where a directory is needed; a
                ``FileExistsError``. Then nothing of this case is downloaded.
            NotFoundError: If *include* matches no file of any case.
            DamagedRunError: If a file differs from the run's record.
            LocationError: If *directory* is a URL.
            StudyNotFoundError: If there is no study.

        Examples:
            >>> study.download(["case-42"], "results", include=["*.sql", "*.err"])  # doctest: +SKIP
            [PosixPath('results/case-42')]
        """
        target, include = local_directory(directory), [include] if isinstance(include, str) else include
        results = self.results(cases)
        wanted = [
            (result.files, result.record, chosen_files(result.record, include), target / case)
            for case, result in results.items()
        ]
        existing = sum(len(record.files) for _, record, _, _ in wanted if record)
        check_chosen(self.url, include, existing, sum(len(files) for _, _, files, _ in wanted))
        total = sum(file.size for _, _, files, _ in wanted for file in files)
        with byte_progress_bar(total, f"Downloading {last_name(self.url)}", progress) as meter:
            parallel_map(lambda item: save(*item, meter, below=target, overwrite=overwrite), wanted)
        return [directory for *_, directory in wanted]

    def verify(
        self,
        cases: Cases | None = None,
        *,
        deep: bool = False,
        repair: bool = False,
        progress: bool = False,
    ) -> Verification:
        """Check that each case is what its state says: that its run exists, is whole, and is that of its job.

        `run` repairs by itself what killed workers leave. This finds what others did to the bucket, and files that
        killed workers left behind.

        Args:
            cases: Which cases, as in [Cases][idfkit_fs.Cases]; None for all.
            deep: Whether to read every file, and compare its hash with the run's record; else only the sizes are
                compared.
            repair: Whether to repair what is wrong, while no worker runs: a case with a damaged run becomes pending, an
                outcome is written again, and what killed workers left is removed. A damaged run that was adopted stays
                as it is.
            progress: Whether to show a progress bar.

        Returns:
            What is wrong, and what was done about it; ``print`` shows it.

        Raises:
            CaseNotFoundError: If a name, a pattern or the filter in *cases* fits no case.
            StudyNotFoundError: If there is no study.
            StoreError: If the store failed, refused access, or did not answer.

        Examples:
            >>> print(study.verify(deep=True))  # doctest: +SKIP
            1000 cases checked: nothing is wrong
        """
        return verify_cases(self.fs, self._list(), cases, deep, repair, progress)

    def _list_for(self, choice: Choice | None) -> Listing:
        """The listing; for a login that may not list, the named cases as if they were pending."""
        try:
            return self._list()
        except PermissionDeniedError:
            if choice is None or choice.needs_listing:
                raise
        names = tuple(dict.fromkeys(choice.named))
        return Listing(self.url, names, {"ok": {}, "failed": {}}, read_study(self.fs).metrics)

    def _list(self) -> Listing:
        return read_listing(self.fs)


def _restore(url: str, storage_options: dict[str, Any], metrics: Metrics | None) -> Study:
    return Study(url, storage_options=storage_options, metrics=metrics)
