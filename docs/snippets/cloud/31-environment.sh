export AWS_ACCESS_KEY_ID=my-access-key AWS_SECRET_ACCESS_KEY=my-secret-key
idfkit-fs status s3://my-bucket/windows
