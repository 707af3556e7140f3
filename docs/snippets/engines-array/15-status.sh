idfkit-fs status s3://my-bucket/study-001 || echo "exit code $?"
