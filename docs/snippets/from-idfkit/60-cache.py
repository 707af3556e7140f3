from idfkit.simulation import SimulationCache

import idfkit_fs

cache = SimulationCache("simulations")
for name in ("first", "hit"):
    result = idfkit_fs.simulate(
        "office.idf", "chicago.epw", design_day=True, output_dir=f"s3://my-bucket/cached/{name}", cache=cache
    )
    print(result.success, len(result.record.files), "files", result.url)
