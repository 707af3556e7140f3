from idfkit_fs import Study, open_result

study = Study("s3://my-bucket/tutorial")
print(study.status())

result = study.result("wwr-0.4")  # the same as open_result("s3://my-bucket/tutorial/wwr-0.4")
print(result.success, result.url)

again = open_result("s3://my-bucket/tutorial/wwr-0.4")
print(again.timeseries("Zone Mean Air Temperature").max().round(1).to_string())
