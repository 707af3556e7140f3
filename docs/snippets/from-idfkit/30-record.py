import idfkit_fs

idfkit_fs.simulate("office.idf", "chicago.epw", design_day=True, output_dir="s3://my-bucket/batch-45/run-001")

result = idfkit_fs.open_result("s3://my-bucket/batch-45/run-001")
print(result.success, result.record.exit_code, result.record.flags)
try:
    idfkit_fs.open_result("s3://my-bucket/batch-45/run-002")
except FileNotFoundError as exc:
    print(exc)
