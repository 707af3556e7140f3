idfkit-fs status s3://my-bucket/tutorial
idfkit-fs ls s3://my-bucket/tutorial
