from idfkit_fs import Study

study = Study("s3://my-bucket/tutorial")
print(study.run(progress=True))
