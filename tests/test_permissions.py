"""What each operation may do with which rights: measured on stores that enforce them, and compared with the docs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.operations import FILES, OPERATIONS, Attempt, World
from support.rights import Gate, gate_before
from support.servers import REPOSITORY, Store
from support.variants import variant

from idfkit_fs import Study, simulate
from idfkit_fs.errors import IncompleteRunError

DOCS = REPOSITORY / "docs" / "permissions.md"
# First the right to list, so that the table shows it only where there is no way without.
RIGHTS = ("list", "delete", "put", "get")
COLUMNS = {"moto": 1, "gcs": 2, "azurite_blob": 3}
NAMED = {
    "moto": {"list": "s3:ListBucket", "get": "s3:GetObject", "put": "s3:PutObject", "delete": "s3:DeleteObject"},
    "gcs": {
        "list": "storage.objects.list",
        "get": "storage.objects.get",
        "put": "storage.objects.create",
        "delete": "storage.objects.delete",
    },
    "azurite_blob": {"list": "letter 'l'", "get": "letter 'r'", "put": "letter 'w'", "delete": "letter 'd'"},
}


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A published run, and a study of two cases that were run and one that is pending, on this disk."""
    run, directory = (tmp_path_factory.mktemp(name) / name for name in ("run", "study"))
    simulate(variant(0.04), None, output_dir=str(run), include=FILES, design_day=True)
    study = Study(str(directory))
    study.add("base", variant(0.05), include=FILES, design_day=True)
    study.add("other", variant(0.06), include=FILES, design_day=True)
    study.run()
    study.add("pending", variant(0.07), include=FILES, design_day=True)
    return run, directory


def measured(gate: Gate, world: World, operation: str, names: dict[str, str]) -> str:
    """The rights that an operation cannot do without.

    It either fails without a right, and then its error names one that is missing, or it gives the same answer.
    """
    prepare, is_read_only = OPERATIONS[operation]
    prepared = prepare(world) if is_read_only else None

    def attempt(rights: set[str]) -> Any:
        ready: Attempt = prepared or prepare(world)
        gate.reset(lambda need: need.right in rights)
        return ready(dict(gate.store.storage_options))

    needed = set(RIGHTS)
    expected = attempt(needed)
    for right in RIGHTS:
        if right not in {need.right for need in gate.used}:
            needed.remove(right)
            continue
        used = gate.used
        try:
            got = attempt(needed - {right})
        except Exception as exc:  # noqa: BLE001 - checked at once
            refused, gate.used = exc, used
        else:
            assert got == expected, f"{operation} gave a wrong answer without the right to {right}"
            needed.remove(right)
            continue
        assert _is_refusal(refused), repr(refused)
        assert [name for name in names.values() if name in str(refused)], str(refused)
    return ", ".join(right for right in RIGHTS[::-1] if right in needed)


def _is_refusal(exc: BaseException) -> bool:
    if isinstance(exc, IncompleteRunError):
        return all(_is_refusal(each) for each in exc.errors.values())
    return isinstance(exc, PermissionError) or isinstance(exc.__cause__, PermissionError)


def documented() -> dict[str, list[str]]:
    """The rows of the table in the docs, by operation."""
    text = DOCS.read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|\n ").split("|")] for line in text.splitlines() if line[:3] == "| `"]
    return {row[0]: row for row in rows if len(row) == len(COLUMNS) + 1}


@pytest.mark.parametrize("server", ["moto", "gcs", "azurite_blob"])
def test_the_table_in_the_docs_is_what_was_measured(
    request: pytest.FixtureRequest, server: str, directories: tuple[Path, Path], no_leftovers: Path
) -> None:
    store: Store = request.getfixturevalue(server)
    world = World(store, variant(0.08), *directories)
    with gate_before(store) as gate:
        found = {name: measured(gate, world, name, NAMED[server]) for name in OPERATIONS}
    for kept in no_leftovers.glob("idfkit-fs-run-*"):  # of runs that were refused
        for path in sorted(kept.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        kept.rmdir()
    assert {name: row[COLUMNS[server]] for name, row in documented().items()} == found, "\n".join(
        f"| {name} | {rights} |" for name, rights in found.items()
    )
