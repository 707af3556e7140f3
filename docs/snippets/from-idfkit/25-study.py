from idfkit import load_idf
from idfkit.simulation import SimulationJob

from idfkit_fs import Study

jobs = [
    SimulationJob(load_idf("office.idf"), "chicago.epw", label=name, output_dir=name, design_day=True)
    for name in ("north", "south")
]
study = Study("s3://my-bucket/batch-44")
study.add_jobs(jobs)
print(study.run())
