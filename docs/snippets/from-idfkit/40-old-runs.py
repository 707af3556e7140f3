import idfkit_fs

url = "s3://my-bucket/batch-42/run-001"  # plain idfkit wrote it
try:
    idfkit_fs.open_result(url)
except FileNotFoundError as exc:
    print(exc)

idfkit_fs.publish(url, url)  # the files stay where they are; sidecars and the record are added
result = idfkit_fs.open_result(url)
print(result.success, result.record.energyplus_version, result.record.exit_code)
