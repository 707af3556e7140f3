idfkit-fs get s3://my-bucket/tutorial 'wwr-*' --include '*.err' --include '*.htm' --to results
