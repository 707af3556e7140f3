from idfkit_fs import Study

study = Study("s3://my-bucket/windows")
study.plot_load_duration("DistrictCooling:Facility").savefig("plots-load-duration.png")
