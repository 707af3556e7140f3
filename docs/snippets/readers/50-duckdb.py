import duckdb

from idfkit_fs import FsspecFileSystem

fs = FsspecFileSystem.from_url("s3://my-bucket/windows")
url = fs.url("wwr-*/timeseries-hourly.parquet")

connection = duckdb.connect()
connection.register_filesystem(fs.fs)
query = f"""
    SELECT split(filename, '/')[-2] AS "case", max("OFFICE CORE:Zone Mean Air Temperature [C](Hourly)")
    FROM read_parquet('{url}', filename = true) GROUP BY 1 ORDER BY 1
"""
print(connection.sql(query).fetchall())
