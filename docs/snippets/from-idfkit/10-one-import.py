from idfkit import load_idf
from idfkit.simulation import SimulationResult, simulate

from idfkit_fs import S3FileSystem, find_energyplus  # instead of: from idfkit.simulation import S3FileSystem

fs = S3FileSystem(bucket="my-bucket", prefix="batch-42/", region_name="us-east-1")
model = load_idf("office.idf")
result = simulate(model, design_day=True, output_dir="run-001", fs=fs, energyplus=find_energyplus())
print(result.success, len(fs.glob("run-001", "*")), "files")

later = SimulationResult.from_directory("run-001", fs=fs)
print(len(later.sql.list_variables()), "variables")
