idfkit-fs rm s3://my-bucket/tutorial triple --yes
idfkit-fs status s3://my-bucket/tutorial
