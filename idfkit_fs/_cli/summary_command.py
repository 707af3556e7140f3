"""The command ``idfkit-fs summary``."""
# ruff: noqa: D301 - click does not wrap what follows the character \b, so it must not be a backslash

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from idfkit_fs._cli.shared import (
    chosen_by,
    echo,
    json_option,
    json_text,
    open_study,
    progress_option,
    storage_options,
    url_argument,
    where_option,
)
from idfkit_fs._cli.table import as_text, choose_columns, fit, sort_rows
from idfkit_fs.errors import MissingExtraError
from idfkit_fs.studies.display import first_names

if TYPE_CHECKING:
    from idfkit_fs.studies.study import Study

__all__ = ["summary"]

Rows = list[dict[str, Any]]


@click.command()
@url_argument
@click.argument("cases", metavar="[CASE]...", nargs=-1)
@where_option
@click.option(
    "--columns",
    metavar="NAME,...",
    help="The columns to show, such as 'wwr,eui_kwh_m2,heating_*'; '*' for all. By default, in a terminal those that "
    "fit, elsewhere all.",
)
@click.option("--sort", metavar="COLUMN", help="Sort by a column; with a minus before its name, the largest first.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@json_option
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A local file to write instead; its name ends in .csv, .json or .parquet.",
)
@storage_options
@progress_option
def summary(
    url: str,
    cases: tuple[str, ...],
    where: dict[str, Any],
    columns: str | None,
    sort: str | None,
    as_csv: bool,
    as_json: bool,
    output: Path | None,
    options: dict[str, Any],
    progress: bool,
) -> None:
    """Show the main results of each case.

    They are its parameters, energy use, peaks and warnings. CASE is a name, or a pattern such as 'wwr-*'. Conditions
    may be about any column, such as 'eui_kwh_m2>100' or state=failed. In a terminal, the columns that fit are shown; a
    file, a pipe, CSV and JSON have all.

    \b
    Examples:
      idfkit-fs summary s3://my-bucket/study-001
      idfkit-fs summary s3://my-bucket/study-001 --columns 'wwr,heating_*' --sort -eui_kwh_m2
      idfkit-fs summary s3://my-bucket/study-001 'wwr-*' --where state=failed --csv > failed.csv
      idfkit-fs summary s3://my-bucket/study-001 --output summary.parquet
    """
    suffix = output.suffix.lower() if output else None
    if as_csv + as_json + (output is not None) > 1:
        raise click.UsageError("--csv, --json and --output cannot be combined")
    if suffix not in (None, ".csv", ".json", ".parquet"):
        raise click.UsageError("--output needs a file name that ends in .csv, .json or .parquet")
    study = open_study(url, options)
    names, rows, units = _read(study, chosen_by(cases, where), progress)
    try:
        shown = names if columns is None else choose_columns(columns, names)
        rows = rows if sort is None else sort_rows(rows, sort, names)
    except ValueError as exc:
        raise click.UsageError(str(exc)) from exc
    if output is not None and suffix == ".parquet":
        _write_parquet(study, output, shown, rows, progress)
        return
    if as_json or suffix == ".json":
        text = json_text([{name: row.get(name) for name in shown} for row in rows])
    elif as_csv or suffix == ".csv":
        from idfkit_fs.studies.rows import as_csv as csv_text

        text = csv_text(shown, rows).rstrip("\n")
    else:
        _echo_table(
            shown, rows, units, None if columns or not sys.stdout.isatty() else shutil.get_terminal_size().columns
        )
        return
    if output is None:
        echo(text)
        return
    try:
        output.write_text(f"{text}\n", encoding="utf-8", newline="\n")
    except OSError as exc:
        raise click.FileError(str(output), exc.strerror) from exc


def _read(study: Study, chosen: Any, progress: bool) -> tuple[list[str], Rows, dict[str, str]]:
    """The columns and rows of the chosen cases, and the units of the metrics."""
    from idfkit_fs.studies.choose import Choice
    from idfkit_fs.studies.listing import read_listing
    from idfkit_fs.studies.read_summary import read_summary
    from idfkit_fs.studies.rows import as_table

    listing = read_listing(study.fs)
    table = as_table(*read_summary(study.fs, listing, listing.metrics, study.result, progress))
    names, rows = [*table.columns], table.rows()
    if chosen is not None:
        by_case = {row["case"]: row for row in rows}

        def cells_of(cases: Sequence[str]) -> dict[str, dict[str, Any]]:
            # A column that no row of these has is still known by its name.
            return {case: {**dict.fromkeys(names), **by_case[case]} for case in cases}

        rows = [by_case[case] for case in Choice.of(chosen).among([*by_case], study.url, cells_of)]
    return names, rows, table.units


def _echo_table(names: Sequence[str], rows: Rows, units: dict[str, str], width: int | None) -> None:
    headings = {name: f"{name} [{units[name]}]" if units.get(name) else name for name in names}
    shown = [*names] if width is None else fit(names, rows, headings, width)
    echo(as_text(shown, rows, headings, width))
    left_out = [name for name in names if name not in shown and any(row.get(name) is not None for row in rows)]
    if left_out:
        text = (
            f"{len(left_out)} columns are not shown ({first_names(left_out)}): see them with --columns NAME,... or "
            "--columns '*', or write all to a file with --output FILE"
        )
        echo(textwrap.fill(text, max(width or 0, 20), break_on_hyphens=False, break_long_words=False), err=True)


def _write_parquet(study: Study, output: Path, names: Sequence[str], rows: Rows, progress: bool) -> None:
    table = study.summary(progress=progress)
    table = table.loc[[row["case"] for row in rows], [name for name in names if name != "case"]]
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
