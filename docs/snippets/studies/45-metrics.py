from idfkit_fs import Study

cell = ("DemandEndUseComponentsSummary", "End Uses", "Total End Uses", "District Cooling")
study = Study("s3://my-bucket/windows", metrics={"peak_cooling_w": cell})
summary = study.summary()
print(summary["peak_cooling_w"].to_dict(), summary.attrs["units"])
