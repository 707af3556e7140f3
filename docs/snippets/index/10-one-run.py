import idfkit_fs

# where EnergyPlus is
idfkit_fs.simulate("office.idf", "chicago.epw", output_dir="s3://my-bucket/study-001/case-42", annual=True)

# on any machine, later
result = idfkit_fs.open_result("s3://my-bucket/study-001/case-42")
print(result.success, result.runtime_seconds)
print(result.timeseries("Zone Mean Air Temperature", keys="*"))
