from pathlib import Path

from idfkit import load_idf, write_idf

import idfkit_fs

# A model that reads a file: the lights of each hour of the year.
Path("lights.csv").write_text("".join(f"{8 <= hour % 24 < 18:d}\n" for hour in range(8760)), encoding="utf-8")
model = load_idf("office.idf")
model.add("Schedule:File", "Measured", file_name="lights.csv", column_number=1, rows_to_skip_at_top=0)
for lights in model["Lights"]:
    lights.schedule_name = "Measured"
Path("measured.idf").write_text(write_idf(model), encoding="utf-8")

# Inputs at URLs: any machine can run them.
bucket = idfkit_fs.FsspecFileSystem.from_url("s3://my-bucket/inputs")
for name in ("measured.idf", "lights.csv", "chicago.epw"):
    bucket.write_bytes(name, Path(name).read_bytes())

result = idfkit_fs.simulate(
    bucket.url("measured.idf"), bucket.url("chicago.epw"), output_dir="s3://my-bucket/measured", design_day=True
)
print(result.success, [(file.name, file.size) for file in result.record.inputs])
