"""Studies below a URL are found without listing what is in them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.made_cases import make_cases
from support.places import Place
from support.proxy import FaultProxy
from support.servers import Store

from idfkit_fs import FsspecFileSystem, Study, list_studies
from idfkit_fs.errors import BucketNotFoundError, LocationError, NotFoundError, PermissionDeniedError


def make_study(place: Place, path: str, cases: int = 1) -> str:
    fs = FsspecFileSystem.from_url(place.url, **place.options).joinpath(path)
    make_cases(fs.write_bytes, [f"case-{number}" for number in range(cases)])
    return fs.url()


def test_studies_are_found_at_every_depth_on_each_store(place: Place) -> None:
    urls = [make_study(place, path) for path in ("b", "a #1/2024", "a #1/2025/glazing", "a #1/2025/walls")]
    FsspecFileSystem.from_url(place.url, **place.options).write_text("notes/_study/readme.txt", "no study")
    found = list_studies(place.url, place.options)
    assert [study.url for study in found] == sorted(urls)
    assert [study.cases() for study in found] == [["case-0"]] * 4
    assert [study.url for study in list_studies(urls[0], place.options)] == urls[:1]


def test_what_is_in_a_study_is_not_listed(shaky_place: Place, proxy: FaultProxy) -> None:
    for path, cases in (("one", 4), ("deep/er/two", 1)):
        make_study(shaky_place, path, cases)
    proxy.reset_counters()
    assert len(list_studies(shaky_place.url, shaky_place.options)) == 2
    # Two for each of the three directories that are no study: a look-up, and what is in it; one for each study. S3 is
    # asked once more whether what does not exist is a directory.
    asked = [line.split()[1] for line in proxy.request_lines]
    assert len(asked) <= 2 + 3 * 3 and not any("case-" in line for line in asked)


def test_no_studies_are_an_empty_list(place: Place) -> None:
    FsspecFileSystem.from_url(place.url, **place.options).write_text("runs/1/run.json", "{}")
    assert list_studies(place.url, place.options) == []


def test_a_url_at_which_nothing_exists(place: Place) -> None:
    with pytest.raises(NotFoundError) as caught:
        list_studies(place.joinpath("nothing").url, place.options)
    assert isinstance(caught.value, FileNotFoundError)


def test_a_bucket_that_is_missing(s3_place: Place) -> None:
    with pytest.raises(BucketNotFoundError):
        list_studies("s3://no-such-bucket/x", s3_place.options)


def test_refused_access_is_no_empty_list(moto_auth: Store) -> None:
    options = {**moto_auth.storage_options, "secret": "wrong"}
    with pytest.raises(PermissionDeniedError):
        list_studies(f"{moto_auth.url}/x", options)


def test_a_file_is_no_directory_of_studies(place: Place) -> None:
    FsspecFileSystem.from_url(place.url, **place.options).write_text("notes.txt", "x")
    with pytest.raises(LocationError, match="is a file"):
        list_studies(place.joinpath("notes.txt").url, place.options)


def test_links_of_a_disk_are_not_followed(tmp_path: Path) -> None:
    url = make_study(Place(str(tmp_path)), "a/b")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    (tmp_path / "also").symlink_to(tmp_path / "a")
    assert [study.url for study in list_studies(tmp_path)] == [url]
    (tmp_path / "empty").mkdir()
    assert list_studies(tmp_path / "empty") == []


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "idfkit_fs", "studies", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=600, check=False, env=os.environ)


def test_the_command_prints_urls(tmp_path: Path) -> None:
    urls = sorted(make_study(Place(str(tmp_path)), path) for path in ("b", "a/1"))
    shown = command(tmp_path)
    assert (shown.returncode, shown.stdout.splitlines()) == (0, urls)
    assert json.loads(command(tmp_path, "--json").stdout) == urls
    missing = command(tmp_path / "nothing")
    assert missing.returncode == 1 and "No such file" in missing.stderr and "Traceback" not in missing.stderr


# --- a study as a collection of cases --------------------------------------------------------------------------------


@pytest.fixture
def counted(shaky_place: Place, proxy: FaultProxy) -> tuple[Study, FaultProxy]:
    make_study(shaky_place, "study", 3)
    study = Study(shaky_place.joinpath("study").url, storage_options=shaky_place.options)
    assert study.cases() == ["case-0", "case-1", "case-2"]  # the connections are open
    proxy.reset_counters()
    return study, proxy


def asked(proxy: FaultProxy) -> list[str]:
    lines = [line.split() for line in proxy.request_lines]
    proxy.reset_counters()
    return [f"{method} {path.partition('?')[0].rpartition('/')[2]}" for method, path, *_ in lines]


def test_a_case_is_opened_by_one_request(counted: tuple[Study, FaultProxy]) -> None:
    study, proxy = counted
    result = study["case-1"]
    assert asked(proxy) == ["GET run.json"] and result.url == study.fs.url("case-1")


def test_a_case_is_looked_up_by_one_request(counted: tuple[Study, FaultProxy]) -> None:
    study, proxy = counted
    assert "case-1" in study and asked(proxy) == ["HEAD case-1.json"]
    assert "case-9" not in study and "study.json" in asked(proxy)[-1]
    assert "*" not in study and 5 not in study and None not in study


def test_cases_are_counted_and_named_by_the_listings(counted: tuple[Study, FaultProxy]) -> None:
    study, proxy = counted
    assert len(study) == 3
    listing = sorted(asked(proxy))
    # The jobs, both kinds of outcomes, and study.json; S3 is asked twice about a directory that is empty.
    assert set(listing) == {"GET study.json", "GET test-bucket"} and len(listing) == 5
    names = iter(study)
    assert sorted(asked(proxy)) == listing
    assert list(names) == list(study) == study.cases() == ["case-0", "case-1", "case-2"]
    asked(proxy)
    assert study and asked(proxy) == []


def test_an_unknown_case_names_the_nearest(study: Study) -> None:
    make_cases(study.fs.write_bytes, ["wwr-0.2", "wwr-0.4"])
    for wrong in (KeyError, LookupError, FileNotFoundError):
        with pytest.raises(wrong, match="has no case 'wwr-0.3'; did you mean 'wwr-0"):
            study["wwr-0.3"]
    with pytest.raises(LocationError, match="cannot be the name of a case"):
        study["wwr-*"]
    with pytest.raises(TypeError, match="must be a str"):
        study[0]  # type: ignore[index]  # that is the point


def test_a_study_that_does_not_exist_has_neither_this_case_nor_another(s3_place: Place) -> None:
    study = Study(s3_place.url, storage_options=s3_place.options)
    assert study
    for question in (len, list, lambda study: "case" in study, lambda study: study["case"]):
        with pytest.raises(FileNotFoundError, match="There is no study here"):
            question(study)


def test_a_pending_case_and_a_failed_one(collected: Study) -> None:
    with pytest.raises(FileNotFoundError, match="Case 'later' has no run yet; run the study first"):
        collected["later"]
    assert not collected["broken"].success and len(collected) == 5
    assert {name: name in collected for name in ("later", "broken", "thick")} == dict.fromkeys(
        ("later", "broken", "thick"), True
    )
