"""The page on clouds says how many requests an operation takes; a proxy counts them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from idfkit import IDFDocument
from idfkit.simulation import SimulationResult
from support.pages import ROOT
from support.places import Place
from support.proxy import FaultProxy

from idfkit_fs import FsspecFileSystem, Study, open_result, publish, run_case

PAGE = (ROOT / "docs" / "cloud.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| (.+?) \| (no requests|\d+ [A-Z]+(?: \+ \d+ [A-Z]+)*) \|", PAGE, re.MULTILINE))
KINDS = ("GET", "HEAD", "LIST", "PUT", "DELETE", "POST")


def kind(line: str) -> str:
    return "LIST" if "list-type" in line else line.split()[0]


def counted(proxy: FaultProxy, call: Callable[[], Any]) -> str:
    proxy.reset_counters()
    call()
    counts = Counter(map(kind, proxy.request_lines))
    return " + ".join(f"{counts[name]} {name}" for name in KINDS if counts[name]) or "no requests"


def test_the_page_counts_requests(
    shaky_place: Place, proxy: FaultProxy, local_run: SimulationResult, model: IDFDocument
) -> None:
    url, options = shaky_place.url, shaky_place.options
    fs = FsspecFileSystem.from_url(url, **options)
    found: dict[str, str] = {}

    def count(name: str, call: Callable[[], Any]) -> None:
        found[name] = counted(proxy, call)

    count("`write_bytes`", lambda: fs.write_bytes("notes.txt", b"text"))
    count("`read_bytes`", lambda: fs.read_bytes("notes.txt"))
    count("`exists`, the file exists", lambda: fs.exists("notes.txt"))
    count("`exists`, it does not", lambda: fs.exists("other.txt"))
    count("`copy`", lambda: fs.copy("notes.txt", "copy.txt"))
    count("`glob`, for each thousand files", lambda: fs.glob("", "*.txt"))
    count("`remove`", lambda: fs.remove("copy.txt"))

    count("`publish` of a run of 20 files", lambda: publish(local_run, f"{url}/run", storage_options=options))
    count("`open_result`", lambda: open_result(f"{url}/run", storage_options=options))
    result = open_result(f"{url}/run", storage_options=options)
    assert result.record is not None and len(result.record.files) == 20
    series, *_ = result.data.catalog(None)
    count("`result.timeseries`, one series", lambda: result.timeseries(series.variable, frequency=series.frequency))
    count("the same again, on this machine", lambda: result.timeseries(series.variable, frequency=series.frequency))
    count("`result.tabular`", result.tabular)
    count("`result.errors`", lambda: result.errors)
    count("`result.sql`, for each 8 MiB", lambda: result.sql)
    result.close()

    study = Study(f"{url}/study", storage_options=options)
    for name in ("a", "b", "c"):
        study.add(name, model, design_day=True, parameters={"name": name})
    count("`run_case` of such a run", lambda: run_case(f"{url}/study", "a", options))
    study.run()
    count("`study.status()` of three cases", study.status)
    count("`study.summary()` of three cases", study.summary)
    count("`study.remove` of one case", lambda: study.remove("a"))
    assert found == ROWS
