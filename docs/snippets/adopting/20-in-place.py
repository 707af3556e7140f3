import fsspec

import idfkit_fs

# Outputs that another tool has uploaded: without a record, and without sidecars.
fsspec.filesystem("s3").put("runs/office/", "my-bucket/old/office/", recursive=True)

try:
    idfkit_fs.open_result("s3://my-bucket/old/office")
except FileNotFoundError as exc:
    print(exc.strerror)

idfkit_fs.publish("s3://my-bucket/old/office", "s3://my-bucket/old/office")
print(idfkit_fs.open_result("s3://my-bucket/old/office").success)
