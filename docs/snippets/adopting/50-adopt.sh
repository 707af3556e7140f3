idfkit-fs adopt s3://my-bucket/measured-2024 runs/*
