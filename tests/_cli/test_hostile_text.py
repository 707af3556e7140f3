"""What a terminal, a notebook, a spreadsheet and a log show of texts that an attacker wrote."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from support.command import run_command

from idfkit_fs import Study, open_result
from idfkit_fs._cli.table import as_text, fit, width_of
from idfkit_fs._stores.translate import translate
from idfkit_fs._util.messages import printable, redact, secrets_of
from idfkit_fs.runs.record import RecordedFile, RunRecord
from idfkit_fs.studies.display import one_line
from idfkit_fs.studies.job import Job, StudyFile
from idfkit_fs.studies.rows import as_csv

SHA = "0" * 64
EVIL = [
    "\x1b[2J\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\",
    "\x9b31m\x9d0;title\x07",
    "a\rb\x08\x08c\x7f",
    "one\ntwo\u2028three\x85four",
    "\u202egpj.exe\u2066x\u2069\u200f\ufeff",
]
texts = st.text() | st.sampled_from(EVIL)
quick = settings(max_examples=15, deadline=None)


def is_harmless(text: str) -> bool:
    return all(unicodedata.category(each) not in ("Cc", "Cf", "Cs", "Zl", "Zp") or each == "\n" for each in text)


@quick
@given(texts)
def test_printable_text_obeys_nothing_and_shows_what_it_was(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable() and (shown == text or not text.isprintable())
    assert printable(shown) == shown


@quick
@given(st.lists(st.dictionaries(st.sampled_from(["a", "b\x1b"]), texts | st.integers() | st.none()), max_size=4))
def test_a_table_has_a_line_for_each_row(rows: list[dict[str, Any]]) -> None:
    shown = as_text(["a", "b\x1b"], rows)
    assert is_harmless(shown) and len(shown.split("\n")) == len(rows) + 1


@quick
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["case", "wwr", "message"]), texts | st.floats() | st.lists(texts)), max_size=4
    ),
    st.integers(1, 200),
)
def test_a_table_is_never_wider_than_the_terminal(rows: list[dict[str, Any]], width: int) -> None:
    names = ["case", "state", "wwr", "東京", "eui_kwh_m2", "message"]
    shown = fit(names, rows, dict(zip(names, names, strict=True)), width)
    lines = as_text(shown, rows, None, width).split("\n")
    assert shown[0] == "case" and len(lines) == len(rows) + 1
    assert max(map(width_of, lines)) <= max(width, 2)  # a character of East Asia is two wide


@quick
@given(st.lists(st.dictionaries(st.sampled_from(["a", "=b"]), texts | st.integers() | st.floats()), max_size=4))
@example([{"a": "=cmd|' /C calc'!A0"}, {"a": "+1+1"}, {"a": "-1+1"}, {"a": "@SUM(1)"}, {"a": "\t=1"}, {"a": "\r=1"}])
@example([{"a": "  =1"}, {"a": "\uff1d1"}, {"a": '"=1'}, {"a": "-"}, {"a": "="}])
def test_no_cell_of_a_csv_is_a_formula(rows: list[dict[str, Any]]) -> None:
    written = as_csv(["a", "=b"], rows)
    assert is_harmless(written)
    head, *cells = csv.reader(io.StringIO(written))
    assert head == ["a", "'=b"] and len(cells) == len(rows)
    for row, line in zip(rows, cells, strict=True):
        for name, cell in zip(["a", "=b"], line, strict=True):
            if isinstance(row.get(name), str) and cell.strip()[:1] in ("=", "+", "-", "@", "\uff1d"):
                float(cell)  # a number is not a formula


def test_numbers_and_honest_texts_of_a_csv_stay_as_they_are() -> None:
    row = {"a": -1.5, "b": "-1.5", "c": "+2e3", "d": "north-east", "e": "a=b", "f": True, "g": [1, "x"], "h": "é ü"}
    (line,) = list(csv.reader(io.StringIO(as_csv([*row], [row]))))[1:]
    assert line == ["-1.5", "-1.5", "+2e3", "north-east", "a=b", "true", '[1, "x"]', "é ü"]


@pytest.fixture
def hostile_study(tmp_path: Path) -> Path:
    """A study whose parameters, metrics and damaged objects try to reach a terminal."""
    directory = tmp_path / "study"
    (directory / "_study/jobs").mkdir(parents=True)
    (directory / "_study/study.json").write_bytes(StudyFile().to_json())
    model = RecordedFile(name="m.idf", size=1, sha256=SHA)
    job = Job(case="a", model=model, parameters={f"p{n}{text}": f"={text}" for n, text in enumerate(EVIL)})
    (directory / "_study/jobs/a.json").write_bytes(job.to_json())
    (directory / "_study/jobs/b.json").write_text(json.dumps({**job.model_dump(mode="json"), "case": EVIL[0]}))
    bad = {**job.model_dump(mode="json"), "case": "c", "files": {EVIL[1]: {"name": EVIL[1]}}}
    (directory / "_study/jobs/c.json").write_text(json.dumps(bad))
    (directory / f"_study/jobs/d{EVIL[4]}.json").write_text("{}")
    return directory


@pytest.mark.parametrize(
    "arguments",
    [
        *(("summary",), ("summary", "--csv"), ("summary", "--json")),
        *(("status",), ("ls",), ("get", "a"), ("show", "a"), ("verify",)),
    ],
    ids=lambda arguments: "-".join(arguments),
)
def test_commands_print_no_escapes(hostile_study: Path, arguments: tuple[str, ...]) -> None:
    done = run_command(arguments[0], hostile_study, *arguments[1:])
    printed = done.stdout + done.stderr
    assert printed and is_harmless(printed) and "Traceback" not in printed


def test_reprs_and_messages_show_no_escapes(hostile_study: Path, tmp_path: Path) -> None:
    study = Study(hostile_study)
    shown = [repr(study), repr(study.status()), study.status()._repr_html_(), *map(str, study.summary_rows()[1])]
    record = RunRecord(
        success=False, exit_code=1, runtime_seconds=1, message="".join(EVIL) + "<script>", flags={"a": EVIL[0]}
    )
    (tmp_path / "run.json").write_bytes(record.to_json())
    result = open_result(tmp_path)
    html = result._repr_html_()
    shown += [repr(result), html, one_line(OSError(1, EVIL[0], EVIL[1])), one_line(ValueError(EVIL[4]))]
    shown += [str(translate(OSError(5, EVIL[0]), "s3://b/k"))]
    assert all(map(is_harmless, shown))
    assert "<script>" not in html


# --- secrets ------------------------------------------------------------------------------------------------------------

SECRETS = st.text("abcdefABCDEF0123456789+/._~-", min_size=12, max_size=40).map(lambda text: f"S3CR{text}T")
HIDING = [
    "https://account.blob.core.windows.net/c/k?sv=2024-11-04&se=2026-01-01&sig={quoted}&sp=r",
    "https://b.s3.amazonaws.com/k?X-Amz-Credential=AK%2F2026&X-Amz-Signature={0}&X-Amz-Expires=9",
    "https://b.s3.amazonaws.com/k?X-Amz-Security-Token={quoted}&versionId=3",
    "https://storage.googleapis.com/b/k?X-Goog-Signature={0}&generation=1",
    "https://b.s3.amazonaws.com/k?AWSAccessKeyId=AK&Signature={quoted}&Expires=1",
    "https://www.googleapis.com/b?access_token={quoted}",
    "https://www.googleapis.com/b?alt=json&key={quoted}",
    "GET /k?token={quoted} HTTP/1.1",
    "callback=https%3A%2F%2Fh%2Fk%3Fsig%3D{quoted}%26sp%3Dr",
    "sftp://me:{quoted}@host:22/x",
    "https://{quoted}@github.com/x",
    "https://me:{quoted}@host/x: 401",
    "Authorization: Bearer {0}",
    "authorization: AWS4-HMAC-SHA256 Credential=AK/1/2, SignedHeaders=host, Signature={0}\r\nHost: h",
    "{{'Authorization': 'SharedKey account:{0}', 'Host': 'h'}}",
    "[(b'authorization', b'Basic {0}')]",
    "x-amz-security-token: {0}",
    "'x-amz-server-side-encryption-customer-key': '{0}'",
    "Proxy-Authorization: Basic {0}",
    "Cookie: session={0}; other={0}",
    "Set-Cookie: {0}; Path=/",
    '{{"access_token": "{0}", "expires_in": 3599}}',
    '{{"client_secret":"{0}"}}',
    "password='{0}'",
    "AccountName=a;AccountKey={0};EndpointSuffix=core",
    "SharedAccessSignature=sv=1&sig={quoted}",
    "aws_secret_access_key = '{0}'",
    "aws_session_token={0}",
]


@pytest.mark.parametrize("text", HIDING)
@quick
@given(secret=SECRETS, before=st.sampled_from(["", "(", "error: ", "'", "\n"]))
def test_no_secret_survives_in_urls_queries_and_headers(text: str, secret: str, before: str) -> None:
    written = before + text.format(secret, quoted=quote(secret, safe=""))
    shown = redact(written)
    assert secret not in shown and quote(secret, safe="") not in shown and "S3CR" not in shown
    assert redact(shown) == shown


@given(
    st.lists(st.text(min_size=4, max_size=20), min_size=1, max_size=3),
    st.sampled_from(["secret", "token", "passphrase"]),
)
def test_no_secret_option_survives_in_any_form(values: list[str], name: str) -> None:
    secrets = secrets_of({name: values, "anon": False})
    for value in values:
        assume("*" not in value)
        for form in (value, quote(value, safe=""), quote_plus(value), repr(value)[1:-1], json.dumps(value)[1:-1]):
            assume(len(form.strip("*")) >= 4)
            assert form not in redact(f"<{form}>", secrets)


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/key=3/case-42",
        "Study('s3://bucket/study-001')",
        "sftp://me@host/runs",
        "abfs://container@account.dfs.core.windows.net/x",
        "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'",
        "The provided token has expired",
        "No such file or directory: 'signature.csv'",
        "case key='abc'",
        "passed: 3",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text
