from idfkit_fs import Study

study = Study("s3://my-bucket/windows")
study.to_parquet("s3://my-bucket/windows-hourly", "Zone*", frequency="hourly")
