"""Publish a run in Azure Blob Storage, and read one of its tables with pandas.

    export AZURE_STORAGE_CONNECTION_STRING="DefaultEndpointsProtocol=https;AccountName=...;AccountKey=..."
    python azure_blob.py abfs://my-container/study-001/case-42

Instead of the connection string you can set `AZURE_STORAGE_ACCOUNT_NAME`, with `AZURE_STORAGE_ACCOUNT_KEY` or
`AZURE_STORAGE_SAS_TOKEN`, or alone: then the login of `az login`, of a managed identity or of VS Code is used. The
container must exist. For Azurite, the connection string contains its `BlobEndpoint`.

Needs `pip install "idfkit-fs[azure,energyplus]" pandas`.
"""

# Do not name your own script azure.py: Python would import it instead of Azure's package.

from __future__ import annotations

import os
import sys

import pandas as pd  # type: ignore[import-untyped, unused-ignore]  # it has no types of its own
from small_office import one_zone, weather

import idfkit_fs


def azure_options() -> dict[str, str | bool]:
    """Get storage options from the environment; adlfs also finds these variables by itself."""
    if text := os.environ.get("AZURE_STORAGE_CONNECTION_STRING"):
        return {"connection_string": text}
    account = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME")
    if not account:
        sys.exit(__doc__)
    return {"account_name": account, "anon": False}  # anon=False: use Azure's default credentials if no key is set


def main(url: str) -> None:
    """Run an annual simulation, publish it, and read it back."""
    options = azure_options()
    idfkit_fs.simulate(one_zone(), weather(), output_dir=url, storage_options=options, annual=True, overwrite=True)

    result = idfkit_fs.open_result(url, storage_options=options)
    print(result)

    fs = idfkit_fs.FsspecFileSystem.from_url(url, **options)
    sizing = pd.read_csv(fs.url("eplusZsz.csv"), storage_options=fs.storage_options, index_col="Time")
    loads = sizing.filter(regex=r"WINTER:Des Heat Load|SUMMER:Des Sens Cool Load").loc["Peak"]
    print("Design loads of the zone")
    for name, load in loads.items():
        print(f"  {name}: {float(load):,.0f}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
