import idfkit
import pandas as pd

from idfkit_fs import Study

table = pd.DataFrame({"wwr": [0.2, 0.4, 0.6, 0.8]})


def build(row):
    """Build the model of a case."""
    model = idfkit.load_idf("office.idf")
    idfkit.set_wwr(model, row["wwr"])
    return model


study = Study("s3://my-bucket/tutorial")
study.add_table(table, build, weather="chicago.epw", name="wwr-{wwr}", annual=True)
print(study.status())
print(study.run())
