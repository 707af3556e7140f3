"""A run in Azure Blob Storage, and a table of it read with pandas.

    export AZURE_STORAGE_CONNECTION_STRING="DefaultEndpointsProtocol=https;AccountName=...;AccountKey=..."
    python azure_blob.py abfs://my-container/study-001/case-42

or `AZURE_STORAGE_ACCOUNT_NAME` instead, alone (then the login of `az login`, of a managed identity or of VS Code is
used) or with `AZURE_STORAGE_ACCOUNT_KEY` or `AZURE_STORAGE_SAS_TOKEN`. The container must exist. With Azurite, the
connection string names its `BlobEndpoint`.

Needs `pip install "idfkit-fs[azure,energyplus]" pandas`.
"""

# Do not call a script of your own azure.py: Python would import it in place of Azure's package.

from __future__ import annotations

import os
import sys

import pandas as pd  # type: ignore[import-untyped, unused-ignore]  # it has no types of its own
from small_office import one_zone, weather

import idfkit_fs


def azure_options() -> dict[str, str | bool]:
    """Storage options from the environment; adlfs would find these variables by itself, too."""
    if text := os.environ.get("AZURE_STORAGE_CONNECTION_STRING"):
        return {"connection_string": text}
    account = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME")
    if not account:
        sys.exit(__doc__)
    return {"account_name": account, "anon": False}  # anon=False: ask Azure's chain where no key is given


def main(url: str) -> None:
    """Simulate a year, publish it, and read it back."""
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
