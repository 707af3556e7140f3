"""Use an S3-compatible store (MinIO, SeaweedFS, Ceph, Cloudflare R2): by URL, by idfkit's arguments, and by pandas.

    export AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...
    python minio.py http://127.0.0.1:9000 my-bucket

The bucket must exist. If `AWS_ENDPOINT_URL` is set, no options are needed; this example passes them explicitly.

Needs `pip install "idfkit-fs[s3,energyplus]" pandas`.
"""

from __future__ import annotations

import os
import sys

import pandas as pd  # type: ignore[import-untyped, unused-ignore]  # it has no types of its own
from idfkit.simulation import simulate
from small_office import one_zone, weather

import idfkit_fs
from idfkit_fs import find_energyplus


def main(endpoint_url: str, bucket: str) -> None:
    """Run two annual simulations, one for each way to specify the store, and read a table with pandas."""
    key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]

    # A URL and storage options, as pandas, dask and xarray take them.
    options = {"endpoint_url": endpoint_url, "key": key, "secret": secret}
    url = f"s3://{bucket}/minio-example/by-url"
    idfkit_fs.simulate(one_zone(), weather(), output_dir=url, storage_options=options, annual=True, overwrite=True)
    print(idfkit_fs.open_result(url, storage_options=options))

    # This class takes the arguments of idfkit's own S3FileSystem.
    fs = idfkit_fs.S3FileSystem(
        bucket,
        prefix="minio-example/",
        endpoint_url=endpoint_url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    )
    simulate(one_zone(), weather(), output_dir="by-class", annual=True, energyplus=find_energyplus(), fs=fs)
    print(*fs.glob("by-class", "*.sql"), sep="\n")

    # Every tool that takes a URL and storage options reads the same files: here pandas reads the zone sizing.
    sizing = pd.read_csv(fs.url("by-class/eplusZsz.csv"), storage_options=fs.storage_options, index_col="Time")
    loads = sizing.filter(regex=r"WINTER:Des Heat Load|SUMMER:Des Sens Cool Load").loc["Peak"]
    print("Design loads of the zone")
    for name, load in loads.items():
        print(f"  {name}: {float(load):,.0f}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
