import os

import idfkit_fs

login = {"connection_string": os.environ["AZURE_STORAGE_CONNECTION_STRING"]}
result = idfkit_fs.open_result("abfs://my-bucket/office", storage_options=login)
print(result.success, len(result.record.files), "files")

fs = idfkit_fs.FsspecFileSystem.from_url("abfs://my-bucket/office")  # adlfs finds the variable by itself
print(fs.exists("run.json"))
