"""Publish a run in Google Cloud Storage, and read one of its tables with pandas.

    gcloud auth application-default login
    python gcs.py gs://my-bucket/study-001/case-42

    python gcs.py gs://my-bucket/study-001/case-42 --token service-account.json
    STORAGE_EMULATOR_HOST=http://127.0.0.1:4443 python gcs.py gs://my-bucket/case-42 --token anon

The bucket must exist. For an emulator, also set `GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT=false`; otherwise gcsfs asks Google
about the bucket.

Needs `pip install "idfkit-fs[gcs,energyplus]" pandas`.
"""

from __future__ import annotations

import argparse

import pandas as pd  # type: ignore[import-untyped, unused-ignore]  # it has no types of its own
from small_office import one_zone, weather

import idfkit_fs


def main() -> None:
    """Run an annual simulation, publish it, and read it back."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="such as gs://my-bucket/study-001/case-42")
    parser.add_argument("--token", default="google_default", help="a key file, 'anon', 'cloud', ... (%(default)s)")
    arguments = parser.parse_args()
    url, options = arguments.url, {"token": arguments.token}

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
    main()
