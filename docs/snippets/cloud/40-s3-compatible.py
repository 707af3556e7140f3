import os

import idfkit_fs

endpoint = os.environ["AWS_ENDPOINT_URL"]  # such as "http://localhost:9000"
result = idfkit_fs.open_result("s3://my-bucket/office", storage_options={"endpoint_url": endpoint})
print(result.success)

fs = idfkit_fs.S3FileSystem("my-bucket", prefix="office", endpoint_url=endpoint, region_name="us-east-1")
print(fs.exists("run.json"))
