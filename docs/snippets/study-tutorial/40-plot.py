import matplotlib.pyplot as plt

from idfkit_fs import Study

summary = Study("s3://my-bucket/tutorial").summary()
uses = {
    "heating_district_heating_water_kwh": "heating",
    "cooling_district_cooling_kwh": "cooling",
    "interior_lighting_electricity_kwh": "lighting",
    "interior_equipment_electricity_kwh": "equipment",
}
reported = [name for name in uses if name in summary]  # a model without equipment has no such column
table = summary.set_index("wwr")[reported].rename(columns=uses)
axes = table.div(summary["floor_area_m2"].iloc[0]).plot.bar(stacked=True, rot=0, figsize=(6, 3.5))
axes.set(xlabel="window-to-wall ratio", ylabel="kWh/m² a")
axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
plt.savefig("tutorial.png", dpi=150, bbox_inches="tight")
