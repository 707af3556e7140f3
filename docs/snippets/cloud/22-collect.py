from idfkit_fs import Study

study = Study("s3://my-bucket/lights")
print(study.summary()[["state", "watts_per_m2", "eui_kwh_m2", "interior_lighting_electricity_kwh"]])
