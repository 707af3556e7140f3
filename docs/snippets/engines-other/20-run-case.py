import idfkit_fs

# What an engine calls, on any machine. It returns how the case ended; a failed case raises no exception.
run = idfkit_fs.run_case("s3://my-bucket/study-001", "wwr-0.3", storage_options=None)
print(run)
