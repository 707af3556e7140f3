"""The commands of ``idfkit-fs``; each calls the library and prints what it returns."""
# ruff: noqa: D301 - click does not wrap what follows the character \b, so it must not be a backslash

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from idfkit_fs._cli.doctor_command import doctor
from idfkit_fs._cli.group import Commands
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
from idfkit_fs._cli.summary_command import summary
from idfkit_fs._cli.wording import in_words_of_the_shell
from idfkit_fs._util.messages import printable, redact
from idfkit_fs._util.urls import last_name
from idfkit_fs.errors import ExistsError, IncompleteRunError
from idfkit_fs.studies.display import counted, first_names

if TYPE_CHECKING:
    from idfkit_fs.runs.result import RunResult
    from idfkit_fs.studies.layout import State

__all__ = ["commands"]

_NAMED = 20  # more cases are counted


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
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


commands.add_command(summary)
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
    from idfkit_fs.studies.find import list_studies

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
    from idfkit_fs._cli.stopping import stoppable
    from idfkit_fs.studies.choose import Choice, choose_cases
    from idfkit_fs.studies.listing import read_listing
    from idfkit_fs.studies.run import run_listed
    from idfkit_fs.studies.share import find_share

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
@click.argument("cases", metavar="[CASE]...", nargs=-1)
@where_option
@storage_options
@json_option
def ls(url: str, cases: tuple[str, ...], where: dict[str, Any], options: dict[str, Any], as_json: bool) -> None:
    """List cases with their states, or files with their sizes.

    The cases are those of the study at URL; the files are those of a case, or of the run at URL. CASE is a name, or a
    pattern such as 'wwr-*'. The files of one case that is named are listed; of several, of a pattern, or of conditions,
    the cases are.

    \b
    Examples:
      idfkit-fs ls s3://my-bucket/study-001
      idfkit-fs ls s3://my-bucket/study-001 'wwr-*' --where city=chicago
      idfkit-fs ls s3://my-bucket/study-001 case-42
      idfkit-fs ls s3://my-bucket/a-run
    """
    from idfkit_fs.studies.choose import choose_cases, is_pattern
    from idfkit_fs.studies.listing import read_listing

    study = open_study(url, options)
    chosen = chosen_by(cases, where)
    if len(cases) == 1 and not where and not is_pattern(cases[0]):
        _list_files(study.result(cases[0]), as_json)
    elif chosen is None and (run := run_at(study)) is not None:
        _list_files(run, as_json)
    else:
        listing = read_listing(study.fs)
        names = listing.cases if chosen is None else sorted(choose_cases(study.fs, listing, chosen))
        states = {name: listing.state(name) for name in names}
        echo_json(states) if as_json else echo_lines(f"{state:7}  {name}" for name, state in states.items())


def _list_files(run: RunResult, as_json: bool) -> None:
    record = run.record
    sizes = {file.name: file.size for file in record.files} if record else {}
    echo_json(sizes) if as_json else echo_lines(f"{size_text(size):>9}  {name}" for name, size in sizes.items())


@commands.command()
@url_argument
@click.argument("cases", metavar="[CASE]...", nargs=-1)
@where_option
@storage_options
@json_option
def show(url: str, cases: tuple[str, ...], where: dict[str, Any], options: dict[str, Any], as_json: bool) -> None:
    """Show how a run ended: its state, its message, and when.

    The run is the one at URL, or those of cases of the study at URL. CASE is a name, or a pattern such as 'wwr-*'. Of
    the cases that match a pattern or a condition, those that have been run are shown.

    \b
    Examples:
      idfkit-fs show s3://my-bucket/a-run
      idfkit-fs show s3://my-bucket/study-001 case-42
      idfkit-fs show s3://my-bucket/study-001 --where city=chicago --json
    """
    from idfkit_fs.runs.result import open_run

    chosen, study = chosen_by(cases, where), open_study(url, options)
    if chosen is None:
        facts = _facts(open_run(study.fs))
        echo_json(facts) if as_json else _echo_facts(facts)
        return
    shown = {case: _facts(run) for case, run in study.results(chosen).items()}
    if as_json:
        echo_json(shown)
        return
    for number, facts in enumerate(shown.values()):
        if number:
            echo("")
        _echo_facts(facts)


def _facts(run: RunResult) -> dict[str, Any]:
    record = run.record
    facts: dict[str, Any] = {
        "url": redact(run.url),
        "state": "ok" if run.success else "failed",
        "message": run.message,
    }
    if record is not None:
        facts |= {
            "energyplus_version": record.energyplus_version,
            "runtime_seconds": record.runtime_seconds,
            "finished": record.finished and record.finished.isoformat(timespec="seconds"),
            "flags": dict(record.flags),
            "files": len(record.files),
            "bytes": sum(file.size for file in record.files),
        }
    return facts


def _echo_facts(facts: dict[str, Any]) -> None:
    shown = {**facts, "flags": " ".join(f"{name}={value}" for name, value in facts.get("flags", {}).items())}
    if "bytes" in facts:
        shown["files"] = f"{facts['files']} ({size_text(shown.pop('bytes'))})"
    for name, value in shown.items():
        if value not in (None, ""):
            text = f"{value:.1f}" if isinstance(value, float) else str(value)
            echo(f"{name:18}  {printable(' '.join(text.split()))}")


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
@json_option
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
    as_json: bool,
    progress: bool,
) -> None:
    """Download the runs of cases, or the run at URL. Each file is checked against the run's record.

    CASE is a name, or a pattern such as 'wwr-*'. Of the cases that match a pattern or a condition, those that have been
    run are downloaded. If nothing matches, nothing is downloaded, and the exit code is 1.

    \b
    Examples:
      idfkit-fs get s3://my-bucket/study-001 case-42 --to results
      idfkit-fs get s3://my-bucket/study-001 'case-4*' --where 'wwr>=0.4' --to results
      idfkit-fs get s3://my-bucket/study-001 --all --include '*.sql' --to results
      idfkit-fs get s3://my-bucket/a-run --to results
    """
    from idfkit_fs._cli.stopping import stoppable

    with stoppable("the files that were downloaded are whole; run the command again to get the others"):
        chosen, study = chosen_by(cases, where), open_study(url, options)
        run = None if chosen or every else run_at(study)
        if run is not None:
            target = directory / last_name(url)
            if target.is_symlink():
                text = "This is a link; remove it, or download into another directory"
                raise ExistsError.for_url(str(target), text)
            _echo_paths([run.download(target, include=include, overwrite=overwrite, progress=progress)], as_json)
            return
        if chosen is None and not every:
            study.status()  # raises if there is no study either
        if bool(chosen) == every:
            raise click.UsageError("Name the cases, or give --where or --all")
        paths = study.download(chosen or "*", directory, include=include, overwrite=overwrite, progress=progress)
        _echo_paths(paths, as_json)


def _echo_paths(paths: list[Path], as_json: bool) -> None:
    echo_json([str(path) for path in paths]) if as_json else echo_lines(paths)


@commands.command()
@url_argument
@click.argument("cases", metavar="[CASE]...", nargs=-1)
@where_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@storage_options
@json_option
@progress_option
def rm(
    url: str,
    cases: tuple[str, ...],
    where: dict[str, Any],
    yes: bool,
    options: dict[str, Any],
    as_json: bool,
    progress: bool,
) -> None:
    """Remove cases with their runs.

    CASE is a name, or a pattern such as 'wwr-*'. If one of them matches nothing, nothing is removed, and the exit code
    is 1. Models and weather files stay, because other cases may use them.

    \b
    Examples:
      idfkit-fs rm s3://my-bucket/study-001 case-42
      idfkit-fs rm s3://my-bucket/study-001 --where 'wwr<0.3'
    """
    from idfkit_fs.studies.choose import choose_cases
    from idfkit_fs.studies.listing import read_listing
    from idfkit_fs.studies.writer import StudyWriter

    chosen = chosen_by(cases, where)
    if chosen is None:
        raise click.UsageError("Name the cases, or give --where")
    study = open_study(url, options)
    listing = read_listing(study.fs)
    found = sorted(choose_cases(study.fs, listing, chosen))
    named = ", ".join(found) if len(found) <= _NAMED else f"{counted(len(found))} ({first_names(found)})"
    if not yes and not _confirmed(f"Remove {named} with all results from {redact(study.url)}?"):
        raise click.ClickException("Nothing was removed, because it was not confirmed; answer y, or pass --yes")
    StudyWriter(study.fs, None).remove(listing, found, progress)
    echo_json({"removed": found}) if as_json else echo(f"Removed {named}.")


def _confirmed(question: str) -> bool:
    try:
        return click.confirm(printable(question), err=True)
    except click.Abort:  # Ctrl-C, or no user can answer
        click.echo(err=True)
        return False


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
    """Check that each case is what its state says.

    CASE is a name, or a pattern such as 'wwr-*'; by default all cases are checked. The exit code is 0 if nothing is
    wrong, or all was repaired, and 1 otherwise.

    \b
    Examples:
      idfkit-fs verify s3://my-bucket/study-001
      idfkit-fs verify s3://my-bucket/study-001 --deep --repair
    """
    chosen = chosen_by(cases, where)
    found = open_study(url, options).verify(chosen, deep=deep, repair=repair, progress=progress)
    findings = [{**each._asdict(), "remedy": in_words_of_the_shell(each.remedy)} for each in found.findings]
    if as_json:
        echo_json({"checked": found.checked, "findings": findings})
    else:
        echo(in_words_of_the_shell(str(found)))
    sys.exit(0 if found.ok else 1)


@commands.command()
@url_argument
@click.option("--tabular", is_flag=True, help="Keep all cells of the tabular reports too, sorted.")
@storage_options
@json_option
@progress_option
def consolidate(url: str, tabular: bool, options: dict[str, Any], as_json: bool, progress: bool) -> None:
    """Keep all outcomes in one object, for a quick summary.

    What all outcomes of a study say is then read at once. A run of all cases, and summary, do it by themselves where it
    pays.

    \b
    Examples:
      idfkit-fs consolidate s3://my-bucket/study-001
      idfkit-fs consolidate s3://my-bucket/study-001 --tabular
    """
    from idfkit_fs.studies.consolidate import consolidate_study
    from idfkit_fs.studies.listing import read_listing

    study = open_study(url, options)
    listing = read_listing(study.fs)
    count, total = consolidate_study(study.fs, listing, study.result, tabular, progress), len(listing.cases)
    echo_json({"consolidated": count, "total": total}) if as_json else echo(f"{count} of {total} cases consolidated.")


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


_sizes_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document; sizes are in bytes.")


@cache_commands.command(name="info")
@_cache_storage
@_sizes_option
def cache_info(cache_storage: Path | None, as_json: bool) -> None:
    """Show the directory, the number of files and the size of the cache."""
    from idfkit_fs import cache

    found = cache.info(cache_storage)
    if as_json:
        echo_json(dataclasses.asdict(found))
        return
    echo(f"directory  {found.directory}")
    echo(f"files      {found.files} ({found.in_use} in use)")
    echo(f"size       {size_text(found.bytes)} of {size_text(found.max_bytes)}")


@cache_commands.command(name="prune")
@_cache_storage
@click.option("--max-bytes", metavar="SIZE", help="The size to keep, such as 2GB; by default the limit of the cache.")
@_sizes_option
def cache_prune(cache_storage: Path | None, max_bytes: str | None, as_json: bool) -> None:
    """Remove the least recently used files until the cache has a given size.

    Files that a running program uses are kept.
    """
    from idfkit_fs import cache

    _report(cache.prune(max_bytes, cache_storage), cache_storage, as_json)


@cache_commands.command(name="clear")
@_cache_storage
@_sizes_option
def cache_clear(cache_storage: Path | None, as_json: bool) -> None:
    """Remove all files, except those that a running program uses."""
    from idfkit_fs import cache

    _report(cache.clear(cache_storage), cache_storage, as_json)


def _report(freed: int, cache_storage: Path | None, as_json: bool) -> None:
    from idfkit_fs import cache

    left = cache.info(cache_storage)
    if as_json:
        echo_json({"freed": freed, **dataclasses.asdict(left)})
        return
    in_use = f", {left.in_use} of them in use" if left.in_use else ""
    echo(f"Freed {size_text(freed)}; {left.files} files ({size_text(left.bytes)}) remain{in_use}.")
