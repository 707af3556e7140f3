"""The commands that take in runs that exist already."""
# ruff: noqa: D301 - click does not wrap what follows the character \b, so it must not be a backslash

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

import idfkit_fs
from idfkit_fs._cli.shared import (
    FAILED,
    echo,
    echo_json,
    echo_report,
    json_option,
    open_study,
    progress_option,
    storage_options,
    told,
    url_argument,
)
from idfkit_fs._util.messages import redact
from idfkit_fs._util.urls import is_url, last_name
from idfkit_fs.errors import IncompleteRunError

__all__ = ["adopt", "publish"]

_prefix = click.option(
    "--output-prefix",
    metavar="PREFIX",
    help="The prefix of the run's outputs, such as eplus, where a directory has several runs.",
)
_overwrite = click.option("--overwrite", is_flag=True, help="Replace a run, or a case, that exists.")


@click.command()
@click.argument("run", metavar="DIR")
@url_argument
@_prefix
@click.option(
    "--include",
    metavar="PATTERN",
    multiple=True,
    help="The files to publish, such as '*.sql'; by default the outputs of the run. Repeatable.",
)
@_overwrite
@storage_options
@json_option
@progress_option
def publish(
    run: str,
    url: str,
    output_prefix: str | None,
    include: tuple[str, ...],
    overwrite: bool,
    options: dict[str, Any],
    as_json: bool,
    progress: bool,
) -> None:
    """Publish a run that EnergyPlus, OpenStudio or idfkit left.

    The run is in the directory DIR, or at a URL, and is published at URL. Only the outputs of the run are published. If
    DIR is the same place as URL, the run gets its record there. The exit code is 0 if the run is ok, 3 if EnergyPlus
    ended it with an error, and 1 if nothing was published.

    \b
    Examples:
      idfkit-fs publish runs/office s3://my-bucket/study-001/case-42
      idfkit-fs publish s3://my-bucket/run-of-idfkit s3://my-bucket/run-of-idfkit
    """
    from idfkit_fs._cli.stopping import stoppable

    try:
        with stoppable("the run was not published to the end; run the command again"):
            result = idfkit_fs.publish(
                run,
                url,
                storage_options=options,
                output_prefix=output_prefix,
                include=include or None,
                overwrite=overwrite,
                progress=progress,
            )
    except ValueError as exc:  # patterns that match nothing
        raise click.ClickException(told(exc)) from exc
    files = len(result.record.files) if result.record else 0
    state = "ok" if result.success else "failed"
    if as_json:
        echo_json({"url": redact(result.url), "state": state, "files": files})
    else:
        echo(f"Published {files} files of a run ({state}) at {redact(result.url)}")
    sys.exit(0 if result.success else FAILED)


@click.command()
@url_argument
@click.argument("runs", metavar="DIR...", nargs=-1, required=True)
@_prefix
@_overwrite
@storage_options
@json_option
@progress_option
def adopt(
    url: str,
    runs: tuple[str, ...],
    output_prefix: str | None,
    overwrite: bool,
    options: dict[str, Any],
    as_json: bool,
    progress: bool,
) -> None:
    """Make cases of runs that exist already, without simulating.

    The cases are added to the study at URL. Each case has the name of its directory. The exit code is 0 if every case
    is ok, 3 if EnergyPlus ended some of them with an error, and 1 if some runs could not be adopted.

    \b
    Examples:
      idfkit-fs adopt s3://my-bucket/study-001 runs/*
    """
    from idfkit_fs._cli.stopping import stoppable

    study = open_study(url, options)
    adoptions = [idfkit_fs.Adoption(_name_of(run), run, output_prefix=output_prefix) for run in runs]
    try:
        with stoppable("the cases that are not adopted yet are pending, or missing; run the command again"):
            report = study.adopt_many(adoptions, overwrite=overwrite, progress=progress)
    except ValueError as exc:
        if len({adoption.name for adoption in adoptions}) < len(adoptions):
            raise click.ClickException(f"{exc}; in Python, adopt_many() gives cases other names") from exc
        raise
    except IncompleteRunError as exc:
        echo_report(exc.report, exc.errors, as_json)
        raise
    echo_report(report, {}, as_json)
    sys.exit(FAILED if report.failed else 0)


def _name_of(run: str) -> str:
    return last_name(run) if is_url(run) else Path(run).resolve().name
