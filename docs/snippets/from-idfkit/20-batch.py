from idfkit import load_idf
from idfkit.simulation import SimulationJob, simulate_batch

from idfkit_fs import FsspecFileSystem, find_energyplus

fs = FsspecFileSystem.from_url("s3://my-bucket/batch-43")
jobs = [
    SimulationJob(load_idf("office.idf"), "chicago.epw", label=name, output_dir=name, design_day=True)
    for name in ("north", "south")
]
batch = simulate_batch(jobs, fs=fs, energyplus=find_energyplus())
print(batch.all_succeeded, fs.glob("", "*/*.sql"))
