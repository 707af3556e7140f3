idfkit-fs run s3://my-bucket/lights
