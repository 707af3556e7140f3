"""Fresh places for studies, and a study that tests read."""

from __future__ import annotations

import multiprocessing.util
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from idfkit import IDFDocument
from support.ledger import Ledger
from support.places import Place
from support.servers import Store
from support.variants import broken, variant

from idfkit_fs import Case, RunResult, Study

OUTDOORS = "Site Outdoor Air Drybulb Temperature"


@pytest.fixture
def study(s3_place: Place) -> Study:
    """A study on moto that nothing was added to."""
    return Study(s3_place.url, storage_options=s3_place.options)


@pytest.fixture
def ledger(moto: Store, study: Study) -> Ledger:
    """That study as the store's own client sees it."""
    return Ledger(moto, study)


@pytest.fixture(scope="module", autouse=True)
def _directory_of_multiprocessing() -> None:
    """It stays until this process ends, so it must not be made in the directory of one test."""
    multiprocessing.util.get_temp_dir()


def _model(insulation_m: float) -> IDFDocument:
    document = variant(insulation_m)
    document.add("Output:Variable", key_value="*", variable_name=OUTDOORS, reporting_frequency="Hourly")
    return document


def _two_rooms() -> IDFDocument:
    """The same with another room and other days; the first room has another name."""
    document = _model(0.2)
    for zone in document["Zone"]:
        document.rename("Zone", zone.name, "Hall")
    return document


@pytest.fixture(scope="module")
def collected(moto: Store, epw: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    """Three cases that ran, of which one has other keys; one that failed, and one that has not been run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        study = Study(f"{moto.url}/{uuid.uuid4().hex}", storage_options=moto.storage_options)
        study.add_cases(
            [
                Case("thick", _model(0.2), epw, {"insulation_m": 0.2, "note": "good", "storeys": 1}),
                Case("thin 1", _model(0.05), epw, {"insulation_m": 0.05, "note": 3}),
                Case("other", _two_rooms(), epw, {"storeys": 2}),
                Case("broken", broken(), epw),
            ]
        )
        study.run()
        study.add("later", _model(0.1), epw)
        yield study


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cases whose runs were opened."""
    found: list[str] = []
    result = Study.result

    def counted(study: Study, case: str) -> RunResult:
        found.append(case)
        return result(study, case)

    monkeypatch.setattr(Study, "result", counted)
    return found
