"""The commands of ``idfkit-fs``; each calls the library and prints what it returns."""
# ruff: noqa: D301 - click does not wrap what follows the character \b, so it must not be a backslash

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any, Literal

import click
from idfkit.exceptions import EnergyPlusNotFoundError

from idfkit_fs import cache
from idfkit_fs._cli.doctor_command import doctor
from idfkit_fs._cli.run_commands import adopt, publish
from idfkit_fs._cli.shared import (
    FAILED,
    PENDING,
    chosen_by,
    echo,
    echo_json,
    echo_lines,
    echo_report,
    json_option,
    open_study,
    progress_option,
    run_at,
    size_text,
    storage_options,
    url_argument,
    where_option,
)
from idfkit_fs._cli.stopping import stoppable
from idfkit_fs._util.messages import printable, redact
from idfkit_fs._util.urls import last_name
from idfkit_fs.errors import ExistsError, IdfkitFsError, IncompleteRunError, MissingExtraError
from idfkit_fs.runs.result import RunResult
from idfkit_fs.studies.choose import Choice, choose_cases, is_pattern
from idfkit_fs.studies.consolidate import consolidate_study
from idfkit_fs.studies.display import counted, first_names, one_line
from idfkit_fs.studies.find import list_studies
from idfkit_fs.studies.layout import State
from idfkit_fs.studies.listing import read_listing
from idfkit_fs.studies.rows import as_csv, as_text
from idfkit_fs.studies.run import run_listed
from idfkit_fs.studies.share import find_share
from idfkit_fs.studies.study import Study
from idfkit_fs.studies.writer import StudyWriter

__all__ = ["commands"]

_NAMED = 20  # more cases are counted


class _Commands(click.Group):
    """Commands that print an error as one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error of this package, or of this machine's disk, gives exit code 1."""
        try:
            return super().invoke(ctx)
        except (IdfkitFsError, EnergyPlusNotFoundError, OSError) as exc:
            if isinstance(exc, BrokenPipeError):
                raise
            text = one_line(exc)
            if ctx.invoked_subcommand in ("adopt", "get", "publish"):
                text = text.replace("overwrite=True", "--overwrite").replace("output_prefix=", "--output-prefix=")
            raise click.ClickException(text) from exc


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="idfkit-fs")
def commands() -> None:
    """Run EnergyPlus studies at any URL, and read their results.

    \b
    Examples:
      idfkit-fs status s3://my-bucket/study-001
      idfkit-fs run s3://my-bucket/study-001 --max-workers 8
      idfkit-fs summary s3://my-bucket/study-001 --output summary.csv
      idfkit-fs get s3://my-bucket/study-001 case-42 --include '*.sql'
    """


commands.add_command(publish)
commands.add_command(adopt)
commands.add_command(doctor)


@commands.command()
@url_argument
@storage_options
@json_option
def status(url: str, options: dict[str, Any], as_json: bool) -> None:
    """Count the cases of a study by their state.

    The exit code is 0 if all cases are ok, 3 if some failed, 4 if some are pending, and 1 for an error.

    \b
    Examples:
      idfkit-fs status s3://my-bucket/study-001
      idfkit-fs status s3://my-bucket/study-001 --json
    """
    found = open_study(url, options).status()
    counts = {"total": found.total, "ok": len(found.ok), "failed": len(found.failed), "pending": len(found.pending)}
    echo_json({**counts, "cases": found.states()}) if as_json else echo(str(found))
    sys.exit(PENDING if found.pending else FAILED if found.failed else 0)


@commands.command()
@url_argument
@storage_options
@json_option
def studies(url: str, options: dict[str, Any], as_json: bool) -> None:
    """List the studies at and below URL.

    \b
    Examples:
      idfkit-fs studies s3://my-bucket
      idfkit-fs studies s3://my-bucket --json
    """
    root = open_study(url, options)
    found = [redact(study.url) for study in list_studies(root.url, root.fs.storage_options)]
    echo_json(found) if as_json else echo_lines(found)


@commands.command()
@url_argument
@click.option(
    "--case",
    "cases",
    metavar="NAME",
    multiple=True,
    help="A case to run, unless it is ok; or a pattern such as 'wwr-*', for the pending cases that match. Repeatable.",
)
@where_option
@click.option("--pending", is_flag=True, help="Run the pending cases: the default.")
@click.option("--failed", is_flag=True, help="Run the failed cases; with --pending, both.")
@click.option("--index", metavar="I", type=click.IntRange(min=0), help="The share of the cases to run, counted from 0.")
@click.option("--of", "count", metavar="N", type=click.IntRange(min=1), help="The number of shares.")
@click.option(
    "--max-workers",
    metavar="N",
    type=click.IntRange(min=1),
    help="The number of simulations at the same time; by default the number of processors.",
)
@click.option("--reuse", metavar="URL", help="Another study; cases that ask for one of its runs are copied from it.")
@click.option("--no-reuse", is_flag=True, help="Simulate each case; do not copy the run of another with equal inputs.")
@storage_options
@json_option
@progress_option
def run(
    url: str,
    cases: tuple[str, ...],
    where: dict[str, Any],
    pending: bool,
    failed: bool,
    index: int | None,
    count: int | None,
    max_workers: int | None,
    reuse: str | None,
    no_reuse: bool,
    options: dict[str, Any],
    as_json: bool,
    progress: bool,
) -> None:
    """Run the cases of a study on this machine.

    A task of an array job (AWS Batch, SLURM) runs its share of the cases. A pod of an indexed Job (Kubernetes) does the
    same if --of gives the number of completions. Each case belongs to one share.

    The exit code is 0 if every case is ok, 3 if EnergyPlus ended some cases with an error (running them again does not
    help), 1 if some cases could not be run (running them again may help), and 143 after SIGTERM: then EnergyPlus was
    stopped, nothing was published, and the cases that were running stay pending.

    \b
    Examples:
      idfkit-fs run s3://my-bucket/study-001 --max-workers 8
      idfkit-fs run s3://my-bucket/study-001 --case case-42 --case case-43
      idfkit-fs run s3://my-bucket/study-001 --case 'wwr-*' --where city=chicago
      idfkit-fs run s3://my-bucket/study-001 --pending --failed
      idfkit-fs run s3://my-bucket/study-001 --index 0 --of 10
    """
    chosen = chosen_by(cases, where)
    # Patterns and conditions narrow what is run otherwise; names say it.
    is_named = chosen is not None and bool(Choice.of(chosen).named)
    if is_named and (pending or failed or index is not None or count is not None):
        raise click.UsageError("--case NAME cannot be combined with --pending, --failed, --index or --of")
    if reuse and no_reuse:
        raise click.UsageError("--reuse cannot be combined with --no-reuse")
    try:
        share = None if is_named else find_share(os.environ, index, count)
    except ValueError as exc:
        raise click.UsageError(str(exc)) from exc
    states: set[State] = {"failed"} if failed else set()
    states |= {"pending"} if pending or not failed else set()
    with stoppable("the cases that were running are still pending"):
        study = open_study(url, options)
        try:
            if share is None:
                report = study.run(
                    chosen,
                    states=states,
                    max_workers=max_workers,
                    reuse=False if no_reuse else reuse,
                    progress=progress,
                )
            else:
                listing = read_listing(study.fs)
                known = listing.states()
                wanted = listing.cases if chosen is None else choose_cases(study.fs, listing, chosen)
                mine = [case for case in share.of(wanted) if known[case] in states]
                echo(f"Share {share.index} of {share.count}: {len(mine)} of {len(wanted)} cases to run", err=True)
                report = run_listed(
                    study.fs,
                    listing,
                    mine,
                    max_workers=max_workers,
                    reuse=False if no_reuse else open_study(reuse, options).fs if reuse else None,
                    progress=progress,
                )
        except IncompleteRunError as exc:
            echo_report(exc.report, exc.errors, as_json)
            raise
    echo_report(report, {}, as_json)
    sys.exit(FAILED if report.failed else 0)


@commands.command()
@url_argument
@storage_options
@click.option(
    "--format", "form", type=click.Choice(["table", "csv", "json"]), help="The format to print; by default a table."
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A local file to write instead; its name ends in .csv, .json or .parquet.",
)
@progress_option
def summary(
    url: str,
    options: dict[str, Any],
    form: Literal["table", "csv", "json"] | None,
    output: Path | None,
    progress: bool,
) -> None:
    """Show the main results of each case: parameters, energy use, peaks, warnings.

    \b
    Examples:
      idfkit-fs summary s3://my-bucket/study-001
      idfkit-fs summary s3://my-bucket/study-001 --format csv > summary.csv
      idfkit-fs summary s3://my-bucket/study-001 --output summary.parquet
    """
    suffix = output and output.suffix.lower()
    if output is not None and (form or suffix not in (".csv", ".json", ".parquet")):
        raise click.UsageError(
            "--output needs a file name that ends in .csv, .json or .parquet, and cannot be combined with --format"
        )
    study = open_study(url, options)
    if output is not None and suffix == ".parquet":
        _write_parquet(study, output, progress)
        return
    columns, rows = study.summary_rows(progress=progress)
    form = form or ("csv" if suffix == ".csv" else "json" if suffix == ".json" else "table")
    text = {
        "table": lambda: as_text(columns, rows),
        "csv": lambda: as_csv(columns, rows).rstrip("\n"),
        "json": lambda: json.dumps(rows, indent=1),
    }[form]()
    if output is None:
        echo(text)
        return
    try:
        output.write_text(f"{text}\n", encoding="utf-8", newline="\n")
    except OSError as exc:
        raise click.FileError(str(output), exc.strerror) from exc


def _write_parquet(study: Study, output: Path, progress: bool) -> None:
    table = study.summary(progress=progress)
    try:
        table.to_parquet(output)
    except ImportError as exc:
        raise MissingExtraError(
            "A Parquet file needs a package that is not installed: pip install 'idfkit-fs[pandas]'"
        ) from exc
    except OSError as exc:
        raise click.FileError(str(output), exc.strerror) from exc
    except (TypeError, ValueError) as exc:  # a parameter with values of several types
        raise click.ClickException(f"This summary cannot be written as Parquet: {exc}; write .csv or .json") from exc


@commands.command()
@url_argument
@click.argument("case", required=False)
@where_option
@storage_options
@json_option
def ls(url: str, case: str | None, where: dict[str, Any], options: dict[str, Any], as_json: bool) -> None:
    """List the cases of a study with their states, or the files of a case, or of the run at URL, with their sizes.

    With a pattern such as 'wwr-*' for CASE, or with conditions, the cases that match are listed.

    \b
    Examples:
      idfkit-fs ls s3://my-bucket/study-001
      idfkit-fs ls s3://my-bucket/study-001 --where city=chicago
      idfkit-fs ls s3://my-bucket/study-001 case-42
      idfkit-fs ls s3://my-bucket/a-run
    """
    study = open_study(url, options)
    if case is None or where or is_pattern(case):
        chosen = chosen_by([case] if case else [], where)
        run = None if chosen else run_at(url, options)
        if run is not None:
            _list_files(run, as_json)
            return
        listing = read_listing(study.fs)
        names = listing.cases if chosen is None else sorted(choose_cases(study.fs, listing, chosen))
        states = {name: listing.state(name) for name in names}
        echo_json(states) if as_json else echo_lines(f"{state:7}  {name}" for name, state in states.items())
        return
    _list_files(study.result(case), as_json)


def _list_files(run: RunResult, as_json: bool) -> None:
    record = run.record
    sizes = {file.name: file.size for file in record.files} if record else {}
    echo_json(sizes) if as_json else echo_lines(f"{size_text(size):>9}  {name}" for name, size in sizes.items())


@commands.command()
@url_argument
@click.argument("cases", metavar="[CASE]...", nargs=-1)
@where_option
@click.option("--all", "every", is_flag=True, help="All cases that have been run, including failed ones.")
@click.option(
    "--to",
    "directory",
    metavar="DIR",
    default=".",
    type=click.Path(file_okay=False, path_type=Path),
    help="A local directory; each run becomes a directory in it. By default the current directory.",
)
@click.option(
    "--include",
    metavar="PATTERN",
    multiple=True,
    default=("**",),
    help="The files to download, such as '*.sql'. Repeatable.",
)
@click.option("--overwrite", is_flag=True, help="Replace local files that differ from the runs'.")
@storage_options
@progress_option
def get(
    url: str,
    cases: tuple[str, ...],
    where: dict[str, Any],
    every: bool,
    directory: Path,
    include: tuple[str, ...],
    overwrite: bool,
    options: dict[str, Any],
    progress: bool,
) -> None:
    """Download the runs of cases, or the run at URL. Each file is checked against the run's record.

    CASE is a name, or a pattern such as 'wwr-*'. Of the cases that match a pattern or a condition, those that have been
    run are downloaded.

    \b
    Examples:
      idfkit-fs get s3://my-bucket/study-001 case-42 --to results
      idfkit-fs get s3://my-bucket/study-001 'case-4*' --where 'wwr>=0.4' --to results
      idfkit-fs get s3://my-bucket/study-001 --all --include '*.sql' --to results
      idfkit-fs get s3://my-bucket/a-run --to results
    """
    with stoppable("the files that were downloaded are whole; run the command again to get the others"):
        chosen = chosen_by(cases, where)
        run = None if chosen or every else run_at(url, options)
        if run is not None:
            target = directory / last_name(url)
            if target.is_symlink():
                text = "This is a link; remove it, or download into another directory"
                raise ExistsError.for_url(str(target), text)
            echo_lines([run.download(target, include=include, overwrite=overwrite, progress=progress)])
            return
        study = open_study(url, options)
        if chosen is None and not every:
            study.status()  # raises if there is no study either
        if bool(chosen) == every:
            raise click.UsageError("Name the cases, or give --where or --all")
        echo_lines(study.download(chosen or "*", directory, include=include, overwrite=overwrite, progress=progress))


@commands.command()
@url_argument
@click.argument("cases", metavar="[CASE]...", nargs=-1)
@where_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@storage_options
@progress_option
def rm(
    url: str, cases: tuple[str, ...], where: dict[str, Any], yes: bool, options: dict[str, Any], progress: bool
) -> None:
    """Remove cases with their runs.

    CASE is a name, or a pattern such as 'wwr-*'. Models and weather files stay, because other cases may use them.

    \b
    Examples:
      idfkit-fs rm s3://my-bucket/study-001 case-42
      idfkit-fs rm s3://my-bucket/study-001 --where 'wwr<0.3'
    """
    chosen = chosen_by(cases, where)
    if chosen is None:
        raise click.UsageError("Name the cases, or give --where")
    study = open_study(url, options)
    listing = read_listing(study.fs)
    found = sorted(choose_cases(study.fs, listing, chosen))
    named = ", ".join(found) if len(found) <= _NAMED else f"{counted(len(found))} ({first_names(found)})"
    if not yes:
        click.confirm(printable(f"Remove {named} with all results from {redact(study.url)}?"), abort=True)
    StudyWriter(study.fs, None).remove(listing, found, progress)
    echo(f"Removed {named}.")


@commands.command()
@url_argument
@click.argument("cases", metavar="[CASE]...", nargs=-1)
@where_option
@click.option("--deep", is_flag=True, help="Read every file, and compare its hash with the run's record.")
@click.option("--repair", is_flag=True, help="Repair what is wrong; no worker may be running.")
@storage_options
@json_option
@progress_option
def verify(
    url: str,
    cases: tuple[str, ...],
    where: dict[str, Any],
    deep: bool,
    repair: bool,
    options: dict[str, Any],
    as_json: bool,
    progress: bool,
) -> None:
    """Check that each case of a study is what its state says, and repair those that are not.

    CASE is a name, or a pattern such as 'wwr-*'; by default all cases are checked. The exit code is 0 if nothing is
    wrong, or all was repaired, and 1 otherwise.

    \b
    Examples:
      idfkit-fs verify s3://my-bucket/study-001
      idfkit-fs verify s3://my-bucket/study-001 --deep --repair
    """
    chosen = chosen_by(cases, where)
    found = open_study(url, options).verify(chosen, deep=deep, repair=repair, progress=progress)
    findings = [finding._asdict() for finding in found.findings]
    echo_json({"checked": found.checked, "findings": findings}) if as_json else echo(str(found))
    sys.exit(0 if found.ok else 1)


@commands.command()
@url_argument
@click.option("--tabular", is_flag=True, help="Keep all cells of the tabular reports too, sorted.")
@storage_options
@progress_option
def consolidate(url: str, tabular: bool, options: dict[str, Any], progress: bool) -> None:
    """Keep what all outcomes of a study say in one object, so that its summary is read at once.

    A run of all cases, and summary, do it by themselves where it pays.

    \b
    Examples:
      idfkit-fs consolidate s3://my-bucket/study-001
      idfkit-fs consolidate s3://my-bucket/study-001 --tabular
    """
    study = open_study(url, options)
    listing = read_listing(study.fs)
    count = consolidate_study(study.fs, listing, study.result, tabular, progress)
    echo(f"{count} of {len(listing.cases)} cases consolidated.")


@commands.group(name="cache")
def cache_commands() -> None:
    """Show or clean the local cache of results.

    \b
    Examples:
      idfkit-fs cache info
      idfkit-fs cache prune --max-bytes 2GB
      idfkit-fs cache clear
    """


_cache_storage = click.option(
    "--cache-storage",
    type=click.Path(file_okay=False, path_type=Path),
    help="The cache's directory; by default the one in the user's cache directory.",
)


@cache_commands.command(name="info")
@_cache_storage
@click.option("--json", "as_json", is_flag=True, help="Print JSON; sizes are in bytes.")
def cache_info(cache_storage: Path | None, as_json: bool) -> None:
    """Show the directory, the number of files and the size of the cache."""
    found = cache.info(cache_storage)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found), default=str, indent=1))
        return
    echo(f"directory  {found.directory}")
    click.echo(f"files      {found.files} ({found.in_use} in use)")
    click.echo(f"size       {size_text(found.bytes)} of {size_text(found.max_bytes)}")


@cache_commands.command(name="prune")
@_cache_storage
@click.option("--max-bytes", metavar="SIZE", help="The size to keep, such as 2GB; by default the limit of the cache.")
def cache_prune(cache_storage: Path | None, max_bytes: str | None) -> None:
    """Remove the least recently used files until the cache has a given size.

    Files that a running program uses are kept.
    """
    _report(cache.prune(max_bytes, cache_storage), cache_storage)


@cache_commands.command(name="clear")
@_cache_storage
def cache_clear(cache_storage: Path | None) -> None:
    """Remove all files, except those that a running program uses."""
    _report(cache.clear(cache_storage), cache_storage)


def _report(freed: int, cache_storage: Path | None) -> None:
    left = cache.info(cache_storage)
    in_use = f", {left.in_use} of them in use" if left.in_use else ""
    click.echo(f"Freed {size_text(freed)}; {left.files} files ({size_text(left.bytes)}) remain{in_use}.")
