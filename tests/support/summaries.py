"""Models for summaries, and an independent reading of the tables: that of the HTML file."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

from idfkit import IDFDocument
from small_office import one_zone
from support.models import period, report

__all__ = ["STYLES", "Html", "metered", "short", "styled", "with_pv"]

STYLES = ("None", "JtoKWH", "JtoMJ", "JtoGJ", "InchPound", "InchPoundExceptElectricity")


def styled(model: IDFDocument, units: str) -> IDFDocument:
    """Have its tables in other units."""
    if "OutputControl:Table:Style" in model.collections:
        model.removeidfobjects(list(model["OutputControl:Table:Style"]))
    model.add("OutputControl:Table:Style", column_separator="HTML", unit_conversion=units)
    return model


def with_pv(model: IDFDocument) -> IDFDocument:
    """Put photovoltaics of 4 kW on it, which at times give more than it needs."""
    model.add(
        "Generator:PVWatts",
        "PV",
        pvwatts_version="5",
        dc_system_capacity=4000,
        module_type="Standard",
        array_type="FixedRoofMounted",
        array_geometry_type="TiltAzimuth",
        tilt_angle=30,
        azimuth_angle=180,
    )
    model.add("ElectricLoadCenter:Inverter:PVWatts", "Inverter")
    model.add(
        "ElectricLoadCenter:Generators",
        "Generators",
        generator_outputs=[{"generator_name": "PV", "generator_object_type": "Generator:PVWatts"}],
    )
    model.add(
        "ElectricLoadCenter:Distribution",
        "Distribution",
        generator_list_name="Generators",
        generator_operation_scheme_type="Baseload",
        electrical_buss_type="DirectCurrentWithInverter",
        inverter_name="Inverter",
    )
    return model


def metered(model: IDFDocument, *meters: str, frequency: str = "RunPeriod") -> IDFDocument:
    """Have it report meters."""
    for meter in meters:
        report(model, meter, frequency)
    return model


def short(days: int = 2) -> IDFDocument:
    """The quickest model for some days of July."""
    return period(one_zone(), (7, 1), (7, days))


class Html:
    """The tables of a run's HTML file, by the title of the report and of the table."""

    def __init__(self, directory: Path) -> None:
        html = (directory / "eplusTable.htm").read_text("latin-1")
        self._tables = []
        # idfkit takes the report's name from the nearest heading, which is not always the report's.
        for of, title, table in re.findall(
            r"<!-- FullName:(.+?)_[^_]*_(.+?)-->\s*<table.*?>(.*?)</table>", html, re.DOTALL
        ):
            header, *rows = [
                [unescape(cell).strip() for cell in re.findall(r"<td.*?>(.*?)</td>", row, re.DOTALL)]
                for row in re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
            ]
            self._tables.append((of, title, header, rows))

    def text(self, report: str, title: str, row: str, column: str) -> tuple[str, str]:
        """The first cell of these names, and the units in the heading of its column."""
        for header, rows in self._named(report, title):
            for number, heading in enumerate(header):
                name, _, units = heading.partition(" [")
                for cells in rows:
                    if (name, cells[0]) == (column, row):
                        return cells[number].strip(), units.rstrip("]")
        raise LookupError(f"{report}, {title}, {row}, {column}")

    def rows(self, report: str, title: str) -> list[str]:
        """The names of the rows of a table."""
        _, rows = self._named(report, title)[0]
        return [cells[0] for cells in rows]

    def columns(self, report: str, title: str) -> list[str]:
        """The names of the columns of a table."""
        header, _ = self._named(report, title)[0]
        return [heading.partition(" [")[0] for heading in header[1:]]

    def _named(self, report: str, title: str) -> list[tuple[list[str], list[list[str]]]]:
        return [(header, rows) for of, name, header, rows in self._tables if (of, name) == (report, title)]

    def step(self, report: str, title: str, row: str, column: str) -> tuple[float, float]:
        """A number in kWh, W, m2 or hours, and half of the last digit that EnergyPlus wrote."""
        text, units = self.text(report, title, row, column)
        factor = FACTORS[units]
        digits = len(text.partition(".")[2])
        return float(text) * factor, 0.5 * 10**-digits * factor * (1 + 1e-6) + 1e-9


# Joules of a kBtu: EnergyPlus's own.
_KBTU = 1 / 0.00000094845
FACTORS: dict[str, float] = {
    "GJ": 1e9 / 3.6e6,
    "kWh": 1.0,
    "kBtu": _KBTU / 3.6e6,
    "m2": 1.0,
    "ft2": 1 / 10.764961,
    "W": 1.0,
    "kW": 1000.0,
    "kBtuh": 1 / 0.00341442,
    "Hours": 1.0,
    "hrs": 1.0,
}
