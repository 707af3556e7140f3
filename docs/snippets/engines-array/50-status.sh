idfkit-fs status s3://my-bucket/study-001
