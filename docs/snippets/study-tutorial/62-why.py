from idfkit_fs import Study

study = Study("s3://my-bucket/tutorial")
print(study.summary()["message"]["triple"])

for error in study.result("triple").errors.severe[:2]:
    print(error.message)
