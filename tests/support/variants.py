"""Variants of the quickest model, which EnergyPlus runs in a third of a second."""

from __future__ import annotations

from pathlib import Path

from idfkit import IDFDocument
from small_office import failing_model, one_zone, small_office

from idfkit_fs import Case

__all__ = ["HEATING", "broken", "cases", "endless", "variant"]

HEATING = ("AnnualBuildingUtilityPerformanceSummary", "End Uses", "Heating", "District Heating Water")


def variant(insulation_thickness: float = 0.1) -> IDFDocument:
    """The model with that much insulation (m), for two days of January."""
    model = one_zone()
    model["Material"]["Insulation"].thickness = insulation_thickness
    period = next(iter(model["RunPeriod"]))
    period.end_month, period.end_day_of_month = 1, 2
    return model


def broken() -> IDFDocument:
    """A model that EnergyPlus ends with an error."""
    return failing_model()


def endless() -> IDFDocument:
    """A model that takes EnergyPlus minutes for a year, for tests that stop it: no busy machine is too late for that."""
    return small_office(storeys=3, timestep=60)


def cases(count: int, weather: str | Path) -> list[Case]:
    """Cases of different models, the thickness of the insulation as their parameter."""
    thicknesses = [round(0.05 + 0.01 * number, 2) for number in range(count)]
    return [
        Case(f"case-{number:02}", variant(thickness), weather, {"insulation_m": thickness})
        for number, thickness in enumerate(thicknesses)
    ]
