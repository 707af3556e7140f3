import idfkit_fs

report = idfkit_fs.doctor("s3://my-bucket/study-001")
print(report.ok, report.failed)
print(report["create"].status, report["create"].detail, report["create"].fix)
