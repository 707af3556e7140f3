import fsspec
from custom_backend import SqliteFileSystem

import idfkit_fs

fsspec.register_implementation("sqlite", SqliteFileSystem)

options = {"database": "results.db"}
result = idfkit_fs.publish("runs/office", "sqlite://study-001/office", storage_options=options)
print(result)
print(result.tabular("AnnualBuilding*", "Site and Source Energy", "Total Site Energy")[["column", "value", "units"]])
