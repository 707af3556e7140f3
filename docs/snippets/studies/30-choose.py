from idfkit_fs import Study

study = Study("s3://my-bucket/windows")
print(study.cases("wwr-0.?"))
print(study.cases({"wwr": [0.2, 0.4]}))
print(study.cases({"wwr": lambda wwr: wwr > 0.3}))
print(study.cases(lambda row: row["wwr"] * 2 > 1))
print([*study.results({"case": "wwr-*", "wwr": 0.4})])
