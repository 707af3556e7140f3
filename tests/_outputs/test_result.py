"""A result whose series were read: what it shows, and that it is pickled, shared and let go like any other."""

from __future__ import annotations

import functools
import gc
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from idfkit import IDFDocument
from idfkit.simulation import EnergyPlusConfig, simulate
from support.models import METER, Ran, Twins
from support.places import Place

from idfkit_fs import RunResult, cache, open_result, publish
from idfkit_fs._outputs.series import FREQUENCIES


class Shown(HTMLParser):
    """The tags and the text of a piece of HTML."""

    def __init__(self, result: RunResult) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []
        self.feed(result._repr_html_())

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_a_notebook_shows_its_state(ran: Ran, tmp_path: Path) -> None:
    result = publish(ran("everything"), tmp_path / "run")
    shown = Shown(result)
    assert f"file://{tmp_path}/run" in shown.text[0]
    cells = dict(zip(shown.text[1::2], shown.text[2::2], strict=True))
    assert cells["state"] == "ok" and cells["runtime"].endswith(" s")
    assert result.record is not None
    assert cells["files"].startswith(f"{len(result.record.files)} (") and cells["files"].endswith("MB)")
    # EnergyPlus's files say when it started, in local time, and not when it finished.
    assert cells["started"] == f"{result.record.started_local:%Y-%m-%d %H:%M} (local time)" and "finished" not in cells
    assert {*shown.tags} == {"table", "caption", "tbody", "tr", "th", "td"}


def test_a_notebook_shows_that_it_failed_and_no_secret(
    bad_model: IDFDocument, epw: Path, eplus: EnergyPlusConfig, s3_place: Place, tmp_path: Path
) -> None:
    failed = simulate(bad_model, epw, output_dir=tmp_path / "failed", energyplus=eplus)
    result = publish(failed, s3_place.url, storage_options=s3_place.options)
    assert "failed" in Shown(result).text
    assert s3_place.options["secret"] not in result._repr_html_().replace(s3_place.url, "")


def test_what_a_notebook_shows_is_no_markup(ran: Ran, tmp_path: Path) -> None:
    """A record and a URL may come from anybody's bucket."""
    run = tmp_path / "<b onclick='x'> & \"co\""
    tags = Shown(publish(ran("everything"), run)).tags
    record = json.loads((run / "run.json").read_text())
    evil = "<script>alert(1)</script>"
    (run / "run.json").write_text(json.dumps({**record, "flags": {evil: evil}, "energyplus_version": evil}))
    shown = Shown(open_result(run))
    assert {*shown.tags} == {*tags} == {"table", "caption", "tbody", "tr", "th", "td"}
    assert f"{evil}={evil}" in "".join(shown.text) and "<b onclick" in "".join(shown.text)


def test_a_result_without_a_record_shows_what_is_known(ran: Ran) -> None:
    shown = Shown(open_result(ran("everything").run_dir, require_record=False))
    assert shown.text[1:] == ["state", "ok"]


def test_a_result_can_be_pickled_with_its_series_read(ran: Ran, twins: Twins, s3_place: Place) -> None:
    results = [*twins("everything"), publish(ran("everything"), s3_place.url, storage_options=s3_place.options)]
    for result in results:
        expected = result.timeseries(METER, frequency="hourly")
        for copy in (pickle.loads(pickle.dumps(result)), pickle.loads(pickle.dumps(result.data))):
            if isinstance(copy, RunResult):
                pd.testing.assert_frame_equal(copy.timeseries(METER, frequency="hourly"), expected, check_exact=True)
            else:
                assert copy.catalog("hourly") == result.data.catalog("hourly")


def test_threads_may_share_a_result(ran: Ran, twins: Twins, s3_place: Place) -> None:
    there = publish(ran("everything"), s3_place.url, storage_options=s3_place.options)
    expected = {
        frequency: twins("everything")[0].timeseries(frequency=frequency, environment="*") for frequency in FREQUENCIES
    }
    for result in (*twins("everything"), open_result(there.url, storage_options=s3_place.options)):
        read = functools.partial(result.timeseries, "*", environment="*")
        with ThreadPoolExecutor(8) as pool:
            frames = [(name, pool.submit(read, frequency=name)) for name in [*FREQUENCIES] * 3]
        for name, frame in frames:
            pd.testing.assert_frame_equal(frame.result(), expected[name], check_exact=True)


def test_the_local_copy_of_a_database_is_let_go(ran: Ran, s3_place: Place) -> None:
    publish(ran("everything"), s3_place.url, storage_options=s3_place.options, sidecars=False)
    result = open_result(s3_place.url, storage_options=s3_place.options)
    result.timeseries(METER, frequency="hourly")
    assert cache.info().in_use == 1
    del result
    gc.collect()
    assert cache.info().in_use == 0


@pytest.mark.filterwarnings("error::UserWarning")
def test_a_result_that_was_read_by_one_process_is_read_again_by_another(
    ran: Ran, s3_place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = publish(ran("office"), s3_place.url, storage_options=s3_place.options).timeseries(METER)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another-machine"))
    again = open_result(s3_place.url, storage_options=s3_place.options).timeseries(METER)
    pd.testing.assert_frame_equal(again, first, check_exact=True)
