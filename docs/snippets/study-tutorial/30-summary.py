from idfkit_fs import Study

summary = Study("s3://my-bucket/tutorial").summary()
print(summary[["state", "wwr", "eui_kwh_m2", "peak_electricity_w", "warnings"]].round(1).to_string())
