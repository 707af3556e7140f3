import idfkit_fs

idfkit_fs.cache.clear()
result = idfkit_fs.open_result("s3://my-bucket/office")
print("opened:", idfkit_fs.cache.info().bytes, "bytes are kept")

electricity = result.timeseries("Electricity:Facility")
print("one series:", idfkit_fs.cache.info().bytes, "bytes")

print(result.errors.summary().splitlines()[0])
print("and the .err file:", idfkit_fs.cache.info().bytes, "bytes")

print(len(result.sql.list_variables()), "variables")
print("and the whole .sql:", idfkit_fs.cache.info().bytes, "bytes")
