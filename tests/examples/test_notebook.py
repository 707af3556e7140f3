"""The notebook among the examples: as it is in the repository, and executed again as a reader does."""

from __future__ import annotations

import base64
import io
import re
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from ipykernel.kernelspec import write_kernel_spec
from matplotlib.image import imread
from nbclient import NotebookClient
from support.servers import Store

from idfkit_fs import Study

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOK = EXAMPLES / "results.ipynb"
SILENT = {"imports", "store", "stop"}
PICTURES = {"eui-plot", "loads-plot", "band-plot", "weather-plot", "carpet-plot", "warm-hours-plot"}
# Cells whose numbers do not depend on the machine, and how many numbers they show at least.
TABLES = {"summary": 24, "end-uses": 30, "loads": 24, "band": 18, "weather": 8, "check": 3, "join": 12, "parquet": 6}
# Absolute paths, addresses, and what credentials are called or look like.
FORBIDDEN = re.compile(
    r"(?<![\w:/.*-])/\w+/|[A-Z]:\\|file:|site-packages"
    r"|127\.0\.0\.1|localhost|https?://"
    r"|secret|token|password|credential|access.?key|\bA[KS]IA[A-Z0-9]{12}",
    re.IGNORECASE,
)
END_USES = re.compile(r"^wwr-(0\.\d)" + r" +(\d+\.\d)" * 5 + "$", re.MULTILINE)


class Reader:
    """A reader's machine: a directory with the notebook's files, a temporary and a home directory, and a kernel."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.work = directory / "work"
        self.temporary = directory / "tmp"
        home = directory / "home"
        for path in (self.work, self.temporary, home):
            path.mkdir()
        shutil.copy(EXAMPLES / "small_office.py", self.work)
        # Whatever kernel the machine calls python3, it is this interpreter.
        write_kernel_spec(directory / "jupyter" / "kernels" / "python3")
        for name in ("TMPDIR", "TEMP", "TMP"):
            monkeypatch.setenv(name, str(self.temporary))
        for name in ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
            monkeypatch.setenv(name, str(home))
        for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
            monkeypatch.setenv(name, str(home / name.lower()))
        monkeypatch.setenv("JUPYTER_PATH", str(directory / "jupyter"))
        monkeypatch.delenv("MPLBACKEND", raising=False)
        monkeypatch.delenv("IDFKIT_FS_NOTEBOOK_URL", raising=False)

    def execute(self, notebook: Any) -> None:
        """Execute it; an error of a cell is raised with its traceback."""
        for cell in code_of(notebook).values():
            cell.outputs, cell.execution_count = [], None
        resources = {"metadata": {"path": str(self.work)}}
        patience = {"timeout": 600, "startup_timeout": 600}
        NotebookClient(notebook, **patience, kernel_name="python3", resources=resources).execute()

    def assert_clean(self) -> None:
        assert {path.name for path in self.work.iterdir()} - {"__pycache__"} == {"small_office.py"}
        assert [*self.temporary.iterdir()] == []


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    return Reader(tmp_path, monkeypatch)


def notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def code_of(notebook: Any) -> dict[str, Any]:
    return {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}


def shown(cell: Any) -> str:
    """What a cell printed and showed, as text."""
    return "\n".join(output.get("text") or output.data["text/plain"] for output in cell.outputs)


def numbers(cell: Any) -> list[float]:
    return [float(number) for number in re.findall(r"(?<![\w.-])-?\d+\.\d+(?:e[+-]\d+)?", shown(cell))]


def pictures(notebook: Any) -> dict[str, bytes]:
    return {
        name: base64.b64decode(output.data["image/png"])
        for name, cell in code_of(notebook).items()
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    }


def assert_well_executed(notebook: Any) -> None:
    """Check that every cell ran, in order and without complaint, and that the pictures show something."""
    cells = code_of(notebook)
    assert [cell.execution_count for cell in cells.values()] == [*range(1, len(cells) + 1)]
    assert {name for name, cell in cells.items() if not cell.outputs} == SILENT
    outputs = [output for cell in cells.values() for output in cell.outputs]
    assert {output.output_type for output in outputs} == {"stream", "execute_result", "display_data"}
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []

    pngs = pictures(notebook)
    assert {*pngs} == PICTURES
    assert len([output for output in outputs if "image/png" in output.get("data", {})]) == len(PICTURES)
    for name, png in pngs.items():
        pixels: Any = imread(io.BytesIO(png))
        height, width, _ = pixels.shape
        assert 600 < width < 900 and 300 < height < 500, name
        inside = pixels[height // 10 : -height // 5, width // 5 : -width // 5, :3]
        assert inside.std() > 0.1, name


def test_what_stands_in_the_repository_was_executed() -> None:
    stored = notebook()
    nbformat.validate(stored)
    assert stored.metadata.kernelspec.name == "python3"
    assert_well_executed(stored)
    assert NOTEBOOK.stat().st_size < 1_000_000

    cells = code_of(stored)
    assert "6 cases: 0 ok, 0 failed, 6 pending" in shown(cells["prepare"])
    assert "6 cases: 6 simulated" in shown(cells["run"])
    assert all("<table" in cells[name].outputs[-1].data["text/html"] for name in ("run", "result", "summary"))
    assert "the nearest are 'Zone Mean Air Temperature'" in shown(cells["error"])
    rows = {row[0]: [float(number) for number in row[1:]] for row in END_USES.findall(shown(cells["end-uses"]))}
    assert [*rows] == ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6"]
    assert rows["0.3"] == pytest.approx([33.6, 24.8, 20_706 / 504, 18_692 / 504, 136.5], abs=0.051)
    assert all(sum(uses) == pytest.approx(eui, abs=0.21) for *uses, eui in rows.values())
    before, fitting, after = numbers(cells["check"])
    assert fitting < min(before, after) * 0.7


def test_what_stands_in_the_repository_tells_nothing_of_a_machine() -> None:
    texts = [
        text if isinstance(text, str) else "".join(text)
        for cell in code_of(notebook()).values()
        for output in cell.outputs
        for kind, text in {"text": output.get("text", ""), **output.get("data", {})}.items()
        if kind != "image/png"
    ]
    assert len(texts) > 30
    for text in texts:
        assert FORBIDDEN.findall(text) == [], text


def test_on_an_endpoint_of_its_own(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    # What a reader's shell may hold must not lead the notebook to the reader's account.
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    stored, fresh = notebook(), notebook()
    reader.execute(fresh)

    assert_well_executed(fresh)
    before, now = code_of(stored), code_of(fresh)
    for name, at_least in TABLES.items():
        expected = numbers(before[name])
        assert len(expected) >= at_least, name
        assert numbers(now[name]) == pytest.approx(expected, rel=0.01, abs=0.11), name
    for name in ("prepare", "run", "error"):
        assert shown(now[name]) == shown(before[name])
    reader.assert_clean()


def test_in_a_place_of_the_readers(reader: Reader, moto: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    place = f"{moto.url}/examples/notebook"
    monkeypatch.setenv("IDFKIT_FS_NOTEBOOK_URL", place)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", moto.storage_options["key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", moto.storage_options["secret"])
    # That the rest is the same wherever the study is, other tests show; this one avoids the simulations.
    beginning = notebook()
    names = [cell.id for cell in beginning.cells]
    beginning.cells = [*beginning.cells[: names.index("prepare") + 1], beginning.cells[names.index("stop")]]
    reader.execute(beginning)

    assert shown(code_of(beginning)["prepare"]) == "6 cases: 0 ok, 0 failed, 6 pending\n"
    assert len(Study(f"{place}/windows", storage_options=moto.storage_options).status().pending) == 6
    reader.assert_clean()
