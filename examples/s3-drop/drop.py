"""drop.py FILE s3://bucket/drop/: put a file where a drop is; it becomes a job by itself. `pip install boto3`."""

import sys
from pathlib import Path

import boto3

file, (bucket, _, prefix) = Path(sys.argv[1]), sys.argv[2].removeprefix("s3://").partition("/")
boto3.client("s3").upload_file(str(file), bucket, prefix + file.name)
print(f"s3://{bucket}/{prefix}{file.name}")
