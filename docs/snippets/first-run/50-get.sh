idfkit-fs get s3://my-bucket/first --include '*.err' --include '*.htm'
ls first
