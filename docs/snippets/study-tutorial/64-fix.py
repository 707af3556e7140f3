import idfkit

from idfkit_fs import Study

model = idfkit.load_idf("office.idf")
model.add("WindowMaterial:SimpleGlazingSystem", "Three panes", u_factor=0.9, solar_heat_gain_coefficient=0.3)
model.add("Construction", "Triple glazing", outside_layer="Three panes")
idfkit.set_wwr(model, 0.4, construction="Triple glazing")

study = Study("s3://my-bucket/tutorial")
study.add("triple", model, "chicago.epw", annual=True, parameters={"wwr": 0.4}, overwrite=True)
print(study.run())
print(study.summary()[["state", "wwr", "eui_kwh_m2"]].round(1).to_string())
