from custom_backend import SqliteFileSystem

from idfkit_fs import FsspecFileSystem, simulate

fs = FsspecFileSystem(SqliteFileSystem("results.db"), "study-001")
result = simulate("office.idf", output_dir="case-42", fs=fs, design_day=True)
print(result, result.errors.simulation_complete)
