"""Fresh places for studies; the fixtures of runs hold here too."""

from __future__ import annotations

import pytest
from runs.conftest import (  # noqa: F401 - fixtures are found by their names in this module
    Place,
    empty_cache,
    eplus,
    epw,
    no_leftovers,
    place,
    proxy,
    s3_place,
    shaky_place,
)

from idfkit_fs import Study


@pytest.fixture
def study(s3_place: Place) -> Study:  # noqa: F811 - the fixture above
    """A study on moto that nothing was added to."""
    return Study(s3_place.url, storage_options=s3_place.options)
