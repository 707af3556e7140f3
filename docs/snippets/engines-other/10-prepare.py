import idfkit

from idfkit_fs import Study


def build(row):
    """Build the model of a case."""
    model = idfkit.load_idf("office.idf")
    idfkit.set_wwr(model, row["wwr"])
    return model


table = [{"wwr": number / 10} for number in range(1, 7)]
study = Study("s3://my-bucket/study-001")
study.add_table(table, build, weather="chicago.epw", name="wwr-{wwr}", design_day=True)
print(study.status())
