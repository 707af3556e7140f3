cat > lab.ini <<'END'
[lab]
aws_access_key_id = my-access-key
aws_secret_access_key = my-secret-key
END
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
export AWS_SHARED_CREDENTIALS_FILE=lab.ini

idfkit-fs status s3://my-bucket/windows -o profile=lab
AWS_PROFILE=lab idfkit-fs status s3://my-bucket/windows
