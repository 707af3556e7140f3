import idfkit_fs

# What EnergyPlus, OpenStudio or plain idfkit left on this disk, at a URL from now on.
result = idfkit_fs.publish("runs/office", "s3://my-bucket/published")
print(result.success, result.url)
