from idfkit import load_idf

from idfkit_fs import Study

study = Study("s3://my-bucket/lights")
for watts in (6, 10):
    model = load_idf("office.idf")
    for lights in model["Lights"]:
        lights.watts_per_floor_area = watts
    study.add(f"lights-{watts:02}", model, "chicago.epw", annual=True, parameters={"watts_per_m2": watts})
print(study.status())
