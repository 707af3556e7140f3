import idfkit

from idfkit_fs import Case, Study

study = Study("s3://my-bucket/cities")

# One case, from a file
study.add("base", "office.idf", "chicago.epw", annual=True, parameters={"city": "chicago", "wwr": 0.3})

# Many, from a generator; each case has its own flags
study.add_cases(
    Case(f"days-{number}", idfkit.load_idf("office.idf"), "chicago.epw", options={"design_day": True})
    for number in range(2)
)
print(study.status())
