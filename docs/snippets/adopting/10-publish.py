import idfkit_fs

result = idfkit_fs.publish("runs/office", "s3://my-bucket/archive/office")

print(result.success)
print(result.record.energyplus_version)
print(result.record.exit_code)  # EnergyPlus's outputs do not say it
print(result.tabular("AnnualBuilding*", "End Uses", "Heating", "District Heating Water")["number"].to_list())
