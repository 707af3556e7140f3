idfkit-fs publish runs/office s3://my-bucket/archive/office-2025
