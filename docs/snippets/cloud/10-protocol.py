from idfkit_fs import FsspecFileSystem

fs = FsspecFileSystem.from_url("s3://my-bucket/protocol")

fs.write_text("case-1/notes.txt", "south facade glazed")
fs.write_bytes("case-1/weather.zip", b"PK\x03\x04")
print(fs.read_text("case-1/notes.txt"), fs.read_bytes("case-1/weather.zip"))

fs.makedirs("case-2", exist_ok=True)  # does nothing: S3 has no directories
fs.copy("case-1/notes.txt", "case-2/notes.txt")  # by the store, not through this machine
print(fs.exists("case-2/notes.txt"), fs.exists("case-2"), fs.exists("case-3"))
print(fs.glob("", "*/*.txt"), fs.glob("case-1", "*"))

fs.remove("case-2/notes.txt")
try:
    fs.read_text("case-2/notes.txt")
except FileNotFoundError as exc:
    print(exc)
