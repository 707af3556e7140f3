JOB_COMPLETION_INDEX=2 idfkit-fs run s3://my-bucket/study-001 --of 3
