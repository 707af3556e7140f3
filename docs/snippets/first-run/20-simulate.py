import idfkit_fs

result = idfkit_fs.simulate(
    "office.idf", "chicago.epw", output_dir="s3://my-bucket/first", annual=True, overwrite=True, progress=True
)
print(result)
print(result.errors.summary())
