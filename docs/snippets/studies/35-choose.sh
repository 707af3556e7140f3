idfkit-fs ls s3://my-bucket/windows 'wwr-*'
idfkit-fs run s3://my-bucket/windows --where 'wwr>=0.4'
idfkit-fs get s3://my-bucket/windows --where wwr=0.4 --include '*.err' --to results
idfkit-fs rm s3://my-bucket/cities 'days-*' --yes
