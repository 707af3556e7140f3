from idfkit_fs import FsspecFileSystem

rules = [
    {
        "ID": "parts of uploads that were killed",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
    },
    {
        "ID": "studies that are only tried out",
        "Status": "Enabled",
        "Filter": {"Prefix": "scratch/"},
        "Expiration": {"Days": 30},
    },
]
s3 = FsspecFileSystem.from_url("s3://my-bucket").fs  # s3fs: every call of S3
s3.call_s3("put_bucket_lifecycle_configuration", Bucket="my-bucket", LifecycleConfiguration={"Rules": rules})
for rule in s3.call_s3("get_bucket_lifecycle_configuration", Bucket="my-bucket")["Rules"]:
    print(rule["Status"], rule["ID"])
