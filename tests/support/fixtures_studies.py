"""Fresh places for studies."""

from __future__ import annotations

import multiprocessing.util

import pytest
from support.ledger import Ledger
from support.places import Place
from support.servers import Store

from idfkit_fs import Study


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
