import idfkit

from idfkit_fs import Study

model = idfkit.load_idf("office.idf")
idfkit.set_wwr(model, 0.4, construction="Triple glazing")

study = Study("s3://my-bucket/tutorial")
study.add("triple", model, "chicago.epw", annual=True, parameters={"wwr": 0.4})
print(study.run())
print(study.status())
