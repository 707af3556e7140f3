from idfkit_fs import Study

study = Study("s3://my-bucket/study-001")
print(study.run(max_workers=2, progress=True))
