from idfkit_fs import FsspecFileSystem, S3FileSystem

project = FsspecFileSystem.from_url("s3://my-bucket/project-x")
batch = project.joinpath("batch-42")
batch.write_text("notes.txt", "low-e glazing")

same = S3FileSystem("my-bucket", prefix="project-x/batch-42/")
print(same.read_text("notes.txt"), project.glob("", "**/*.txt"), batch.url("notes.txt"))

try:
    batch.read_text("../batch-41/notes.txt")
except ValueError as exc:
    print(exc)
