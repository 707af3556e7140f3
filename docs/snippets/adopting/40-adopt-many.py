from pathlib import Path

import pandas as pd

from idfkit_fs import Adoption, Study

# A table that you have: which directory has which case.
table = pd.DataFrame({"directory": ["runs/office"], "wwr": [0.3], "city": ["chicago"]})

study = Study("s3://my-bucket/measured-2025")
report = study.adopt_many(
    Adoption(Path(row.directory).name, row.directory, {"wwr": row.wwr, "city": row.city}) for row in table.itertuples()
)
print(report)
