idfkit-fs run s3://my-bucket/study-001 --index 0 --of 3
