import idfkit
import pandas as pd

from idfkit_fs import Study

table = pd.MultiIndex.from_product([["chicago"], [0.3, 0.5, 0.7]], names=["city", "wwr"]).to_frame(index=False)


def build(row):
    """Build the model of a row: an idfkit document, or the path or URL of a file."""
    model = idfkit.load_idf("office.idf")
    idfkit.set_wwr(model, row["wwr"])
    return model


study = Study("s3://my-bucket/cities")
study.add_table(
    table,
    build,
    weather=lambda row: f"{row['city']}.epw",  # or one file for all rows
    name="{city}-{wwr}",  # by default the labels of the index; numbers become case-0, case-1 and so on
    annual=True,
    progress=True,
)
print(study.cases())
