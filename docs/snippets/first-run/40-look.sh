idfkit-fs ls s3://my-bucket/first
