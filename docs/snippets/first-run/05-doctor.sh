idfkit-fs doctor s3://my-bucket
