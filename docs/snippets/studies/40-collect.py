from idfkit_fs import Study

study = Study("s3://my-bucket/windows")
print(study.status())
print(study.summary()[["wwr", "eui_kwh_m2", "unmet_cooling_hours"]].round(1).to_string())
print(study.result("wwr-0.4").errors.summary())
study.download("wwr-0.4", "results", include=["*.htm"])
