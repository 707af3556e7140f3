from idfkit_fs import Study

study = Study("s3://my-bucket/windows")
print(study.verify(deep=True))
