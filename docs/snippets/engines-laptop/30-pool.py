from concurrent.futures import ProcessPoolExecutor

import idfkit

from idfkit_fs import Study


def build(row):
    """Build the model of a case."""
    model = idfkit.load_idf("office.idf")
    idfkit.set_wwr(model, row["wwr"])
    return model


if __name__ == "__main__":
    study = Study("s3://my-bucket/study-002")
    study.add_table([{"wwr": 0.2}, {"wwr": 0.4}], build, weather="chicago.epw", name="wwr-{wwr}", design_day=True)
    with ProcessPoolExecutor(2) as pool:
        print(study.run(executor=pool))
