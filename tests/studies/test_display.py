"""What people see of a study: statuses and reports of many cases, and errors of many cases."""

from __future__ import annotations

import errno

import pytest
from IPython.core.formatters import DisplayFormatter
from IPython.lib.pretty import pretty

from idfkit_fs import CaseRun, RunReport, StudyStatus
from idfkit_fs.errors import PermissionDeniedError, UnreachableError
from idfkit_fs.studies.display import first_names, one_line
from idfkit_fs.studies.report import incomplete

MANY = tuple(f"case-{number:05}" for number in range(10_000))
STATUS = StudyStatus(ok=MANY[:9_000], failed=MANY[9_000:9_002], pending=MANY[9_002:])
REPORT = RunReport(
    (
        *(CaseRun(case, "ok", "simulated") for case in MANY[:900]),
        *(CaseRun(case, "ok", "reused") for case in MANY[900:960]),
        *(CaseRun(case, "failed", "simulated") for case in MANY[960:1000]),
    )
)


def test_a_status_of_many_cases_is_a_few_lines() -> None:
    assert str(STATUS) == "10000 cases: 9000 ok, 2 failed, 998 pending"
    assert repr(STATUS).splitlines() == [
        "<StudyStatus of 10000 cases>",
        "  ok       9000",
        "  failed      2  case-09000, case-09001",
        "  pending   998  case-09002, case-09003, case-09004 and 995 more",
    ]


def test_a_report_of_many_cases_is_a_few_lines() -> None:
    assert str(REPORT) == "1000 cases: 940 simulated, 60 reused; 40 of them failed"
    assert repr(REPORT).splitlines() == [
        "<RunReport of 1000 cases>",
        "  simulated    940",
        "  reused        60",
        "  done before    0",
        "  failed        40  case-00960, case-00961, case-00962 and 37 more",
    ]


def test_an_empty_status_and_report_are_shown_too() -> None:
    assert str(StudyStatus((), (), ())) == "0 cases: 0 ok, 0 failed, 0 pending"
    assert repr(StudyStatus((), (), ())).splitlines()[1:] == ["  ok       0", "  failed   0", "  pending  0"]
    assert str(RunReport(())) == "nothing to run"
    assert len(repr(RunReport(())).splitlines()) == 5


@pytest.mark.parametrize("shown", [STATUS, REPORT], ids=["status", "report"])
def test_ipython_and_a_notebook_show_a_few_lines(shown: object) -> None:
    assert pretty(shown) == repr(shown)
    formats, _ = DisplayFormatter().format(shown)
    assert formats["text/plain"] == repr(shown)
    assert formats["text/html"].count("<tr>") == len(repr(shown).splitlines()) - 1
    assert len(formats["text/html"]) < 600


def test_html_shows_odd_names_as_they_are() -> None:
    assert "<td>50+50 &amp; &#x27;more&#x27;</td>" in StudyStatus((), ("50+50 & 'more'",), ())._repr_html_()


def test_a_long_list_of_names_is_cut() -> None:
    assert first_names([]) == ""
    assert first_names(MANY[:3]) == "case-00000, case-00001, case-00002"
    assert first_names(MANY) == "case-00000, case-00001, case-00002 and 9997 more"


def test_an_error_is_one_line_with_its_url_and_its_notes() -> None:
    error = UnreachableError.for_url("s3://bucket/study", "The store\n  did not answer")
    error.add_note("try again\nlater")
    assert one_line(error) == "The store did not answer: s3://bucket/study; try again later"
    assert one_line(OSError(errno.ENOSPC, "No space left on device")) == "No space left on device"
    assert one_line(ValueError("first\nsecond")) == "first second"


def test_errors_of_many_cases_are_one_line() -> None:
    refused = PermissionDeniedError.for_url("s3://bucket/study", "The store refused access:\n403 Forbidden")
    error = incomplete(REPORT, dict.fromkeys(MANY, refused), "could not be run", "; run the study again")
    assert str(error) == (
        "Case 'case-00000' and 9999 more could not be run: The store refused access: 403 Forbidden: s3://bucket/study; "
        "run the study again"
    )
    assert (error.report, len(error.errors), error.__cause__) == (REPORT, 10_000, refused)
