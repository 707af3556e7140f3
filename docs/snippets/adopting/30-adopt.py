from idfkit_fs import Study

study = Study("s3://my-bucket/measured")
study.adopt("office", "runs/office", parameters={"wwr": 0.3})
print(study.summary()[["state", "wwr", "eui_kwh_m2"]].round(1).to_string())
