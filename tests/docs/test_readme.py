"""The README runs as a reader would paste it, and reads on a package index."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path

import pytest
from support.world import World

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
# A fresh environment and the sessions of nox show these.
INSTALLS = ("git clone ", "cd ", "python -m pip ", "python examples/")
REPOSITORY = "https://github.com/idfkit/idfkit-fs"
RAW = "https://raw.githubusercontent.com/idfkit/idfkit-fs/main/"
SITE = "https://idfkit.github.io/idfkit-fs/"


def blocks(language: str) -> list[str]:
    return [body for written, body in BLOCKS if written == language]


@pytest.mark.parametrize("bucket", ["s3://my-bucket", "bucket"], ids=["bucket", "directory"])
def test_blocks_run_one_after_the_other(world: World, bucket: str) -> None:
    program, commands = world.work / "readme.py", world.work / "readme.sh"
    program.write_text("\n".join(blocks("python")).replace("s3://my-bucket", bucket), encoding="utf-8")
    lines = [line for block in blocks("console") for line in block.splitlines() if not line.startswith(INSTALLS)]
    commands.write_text("\n".join(lines).replace("s3://my-bucket", bucket), encoding="utf-8")

    printed = world.run(program)
    assert "3 cases: 3 simulated" in printed
    assert re.search(r"wwr-0\.4 +0\.4 +142\.\d", printed)  # as the demo has it
    assert "OFFICE CORE:Zone Mean Air Temperature [C](Hourly)" in printed

    printed = world.run(commands)
    assert "3 cases: 3 ok, 0 failed, 0 pending" in printed
    assert len((world.work / "offices.csv").read_text(encoding="utf-8").splitlines()) == 4
    assert (world.work / "results" / "wwr-0.4" / "eplus.err").is_file()


def test_the_model_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "python examples/small_office.py\n" in blocks("console")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(ROOT / "examples" / "small_office.py"), run_name="__main__")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chicago.epw", "office.idf"]


def test_each_extra_is_named() -> None:
    named = set(re.findall(r"`(\w+)`", " ".join(line for line in README.splitlines() if line.startswith("| `"))))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["optional-dependencies"].keys() <= named


def test_the_test_command_is_that_of_ci() -> None:
    command = "python -m pip install nox uv && nox -s tests"
    assert f"{command}\n" in blocks("console")
    assert f"\n{command}\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_links_are_absolute_and_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert len(links) > 10
    for link in links:
        assert link.startswith("https://"), link
        page = link.partition("#")[0]
        if page.startswith(SITE):
            name = page.removeprefix(SITE).strip("/") or "index"
            assert any((ROOT / "docs" / file).is_file() for file in (f"{name}.md", f"{name}/index.md")), link
        for files in (f"{REPOSITORY}/blob/main/", f"{REPOSITORY}/tree/main/", RAW):
            if page.startswith(files):
                assert (ROOT / page.removeprefix(files)).exists(), link
