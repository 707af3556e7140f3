import idfkit_fs

for url in ("s3://my-bucket/windows/wwr-0.9", "s3://my-bucket/windows", "s3://no-such-bucket/windows"):
    try:
        result = idfkit_fs.open_result(url)
    except idfkit_fs.errors.ArchivedError:
        print("Restore it, and come back tomorrow")
    except FileNotFoundError as exc:  # what Python's own code raises too
        print(f"{url}: {exc.strerror}")
    except (PermissionError, ConnectionError) as exc:
        print(f"Ask the doctor: {exc}")
