import idfkit_fs

options = {
    "s3_additional_kwargs": {
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        "StorageClass": "STANDARD_IA",
        "Tagging": "project=office&phase=design",
        "ACL": "bucket-owner-full-control",
    }
}
result = idfkit_fs.publish("runs/office", "s3://my-bucket/confidential", storage_options=options)
print(result.home.store.metadata("my-bucket/confidential/run.json"))
