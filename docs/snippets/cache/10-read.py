import idfkit_fs

result = idfkit_fs.open_result("s3://my-bucket/office")  # reads the record: one small request
print(result.sql.list_variables()[:3])  # the first time: a download; later: no request

fs = idfkit_fs.FsspecFileSystem.from_url("safecache::s3://my-bucket")
print(fs.read_text("office/eplus.err"))  # every read of this filesystem goes through the cache
