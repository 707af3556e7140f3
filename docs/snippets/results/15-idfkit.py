import idfkit_fs

result = idfkit_fs.open_result("s3://my-bucket/windows/wwr-0.4")

print(result.success, result.runtime_seconds is not None)  # from the record
print(result.errors.summary())  # the .err
series = result.sql.get_timeseries("Zone Mean Air Temperature", "OFFICE CORE", environment="annual")  # the whole .sql
print(len(series.values), series.units)

result.download("office", include=["*.err", "*.htm"])  # for work without a network
