from idfkit_fs import FsspecFileSystem, publish

options = {"s3_additional_kwargs": {"ServerSideEncryption": "AES256", "Tagging": "project=office"}}
publish("runs/office", "s3://my-bucket/encrypted", storage_options=options)

fs = FsspecFileSystem.from_url("s3://my-bucket/encrypted")
for name in ("run.json", "eplus.sql"):
    about = fs.fs.call_s3("head_object", Bucket="my-bucket", Key=f"encrypted/{name}")
    print(name, about["ServerSideEncryption"])
