import idfkit_fs

url = "s3://my-bucket/study-001/case-42"

# on a machine with EnergyPlus
idfkit_fs.simulate("office.idf", "chicago.epw", output_dir=url, annual=True)

# on any machine, later
result = idfkit_fs.open_result(url)
print(result.success, result.runtime_seconds)
print(result.timeseries("Zone Mean Air Temperature"))
