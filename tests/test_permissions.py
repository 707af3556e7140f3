"""What each operation may do with which rights: measured on stores that enforce them, and compared with the docs."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from idfkit import IDFDocument
from idfkit.simulation import SimulationResult
from support.operations import OPERATIONS, World
from support.rights import Gate, Need, gate_before
from support.servers import REPOSITORY, Store
from support.variants import variant

from idfkit_fs import Study


def measure(gate: Gate, world: World, name: str) -> set[str]:
    operation = OPERATIONS[name]
    gate.reset()
    expected = operation(world)(gate.store.storage_options)
    used = {need.right for need in gate.used}
    needed = set(used)
    for right in sorted(used):
        attempt = operation(world)
        trial = needed - {right}
        gate.reset(lambda need, trial=trial: need.right in trial)
        try:
            got = attempt(dict(gate.store.storage_options))
        except Exception as exc:
            print("   without", right, type(exc).__name__, str(exc)[:600])
            continue
        if got != expected:
            print("   WRONG without", right, got, expected)
        needed = trial
    print(f"{name:50} needs {sorted(needed)}  used {sorted(used)}")
    return needed


@pytest.mark.parametrize("server", ["moto", "gcs", pytest.param("azurite_blob", marks=pytest.mark.azurite)])
def test_probe(request, server, local_run, tmp_path, _finished) -> None:
    store = request.getfixturevalue(server)
    model = variant(0.05)
    study = Study(str(tmp_path / "study"))
    study.add("base", model, design_day=True)
    study.run()
    world = World(store, Path(local_run.run_dir), model, tmp_path / "study")
    with gate_before(store) as gate:
        for name in OPERATIONS:
            try:
                measure(gate, world, name)
            except Exception as exc:
                print(name, "FAILED", repr(exc))
