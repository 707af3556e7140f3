import os

import idfkit_fs

login = {"key": os.environ["AWS_ACCESS_KEY_ID"], "secret": os.environ["AWS_SECRET_ACCESS_KEY"]}
result = idfkit_fs.open_result("s3://my-bucket/office", storage_options=login)
print(result, result.home)  # no key is shown

fs = idfkit_fs.S3FileSystem(
    "my-bucket", prefix="office", aws_access_key_id=login["key"], aws_secret_access_key=login["secret"]
)
print(len(fs.glob("", "*")), "files")
