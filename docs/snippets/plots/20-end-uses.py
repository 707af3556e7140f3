from idfkit_fs import Study

study = Study("s3://my-bucket/windows")
study.plot_end_uses().savefig("plots-end-uses.png")
