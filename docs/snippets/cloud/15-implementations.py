from idfkit.simulation import FileSystem

from idfkit_fs import FsspecFileSystem, LocalFileSystem, S3FileSystem

on_this_disk = LocalFileSystem("results")
in_s3 = S3FileSystem("my-bucket", prefix="office", region_name="us-east-1")
anywhere = FsspecFileSystem.from_url("memory://study-001")  # s3://, gs://, abfs://, sftp://, ...

for fs in (on_this_disk, in_s3, anywhere):
    print(fs.url("eplus.err"), isinstance(fs, FileSystem), fs.exists("eplus.err"))
