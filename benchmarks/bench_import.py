"""What `import idfkit_fs` costs beside the imports that its user has anyway, and what it must not drag in."""

from __future__ import annotations

import subprocess
import sys
import time

from rows import Row

ROUNDS = 20
TARGET = 1.3
OURS, PEER = "import idfkit_fs", "import idfkit.simulation; import fsspec"
HEAVY = ("s3fs", "gcsfs", "adlfs", "botocore", "pandas", "xarray", "pydantic")


def measure() -> list[Row]:
    """Time fresh interpreters in turns; the quickest of each counts, less that of a bare one."""
    for program in (OURS, PEER):
        _seconds(program)  # writes bytecode, fills the page cache
    rounds = [[_seconds(program) for program in ("", OURS, PEER)] for _ in range(ROUNDS)]
    bare, ours, peer = (min(times) for times in zip(*rounds, strict=True))
    ratio = (ours - bare) / (peer - bare)
    loaded = _run(f"import sys; {OURS}; print(*(name for name in {HEAVY} if name in sys.modules))").split()
    found = f"loads {', '.join(loaded)}" if loaded else "loads no backend, pandas, xarray, pydantic"
    return [
        Row(
            f"import idfkit_fs ({found}): idfkit.simulation + fsspec",
            f"{(ours - bare) * 1e3:.0f} ms",
            f"{(peer - bare) * 1e3:.0f} ms",
            f"{ratio:.2f}",
            f"<= {TARGET}, none loaded",
            ratio <= TARGET and not loaded,
        )
    ]


def _seconds(program: str) -> float:
    start = time.perf_counter()
    _run(program)
    return time.perf_counter() - start


def _run(program: str) -> str:
    return subprocess.run([sys.executable, "-P", "-c", program], check=True, capture_output=True, text=True).stdout
