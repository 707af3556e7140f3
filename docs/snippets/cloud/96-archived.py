from idfkit_fs import FsspecFileSystem
from idfkit_fs.errors import ArchivedError

glacier = {"StorageClass": "GLACIER"}  # do not write runs so: this only shows the error
fs = FsspecFileSystem.from_url("s3://my-bucket/archived", s3_additional_kwargs=glacier)
fs.write_text("notes.txt", "restore me first")
try:
    fs.read_text("notes.txt")
except ArchivedError as exc:
    print(exc)
