import idfkit_fs

login = {"token": "anon"}  # a public bucket; else "google_default", or the path of a key file
result = idfkit_fs.open_result("gs://my-bucket/office", storage_options=login)
print(result.success, len(result.record.files), "files")

fs = idfkit_fs.FsspecFileSystem.from_url("gs://my-bucket/office", token="anon")
print(fs.exists("run.json"))
