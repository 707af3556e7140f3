from idfkit_fs import LocalFileSystem

anywhere = LocalFileSystem()  # as in idfkit: relative to the working directory, or any absolute path
print(anywhere.exists("runs/office/eplus.sql"))

below = LocalFileSystem("runs")  # nothing outside of this directory
print(below.exists("office/eplus.sql"))
try:
    below.read_bytes("../office.idf")
except ValueError as exc:
    print(exc)
