from idfkit_fs import Study

study = Study("s3://my-bucket/windows")
print(study.run())  # the pending cases: every case of this study is ok
print(study.run(["wwr-0.4", "wwr-0.6"]))  # these cases, unless they are ok
print(study.run(states=["pending", "failed"]))  # those that EnergyPlus ended with an error too
