"""publish.py FOLDER BUCKET: put a template and its assets into a bucket of yours, and print the template's URL.

FOLDER is `cdk.out` after `make synth`, or the archive `elasticrecode-…-cloudformation.tar.gz` of a release, unpacked.
The bucket is in the Region of the stack. Neither CDK nor its bootstrap stack is needed: the template reads your bucket.
`pip install boto3`.
"""

import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import boto3

folder, bucket = Path(sys.argv[1]), sys.argv[2]
s3 = boto3.client("s3")
(manifest,) = folder.glob("*.assets.json")
template: dict[str, Any] = json.loads((folder / manifest.name.replace(".assets.", ".template.")).read_text())


def packed(path: Path) -> bytes:
    """A folder as zip, the same bytes each time."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(each for each in path.rglob("*") if each.is_file()):
            entry = zipfile.ZipInfo(str(file.relative_to(path)))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
    return content.getvalue()


text = json.dumps({name: part for name, part in template.items() if name not in ("Parameters", "Rules")})
for asset in json.loads(manifest.read_text())["files"].values():
    source = folder / asset["source"]["path"]
    (place,) = asset["destinations"].values()
    text = text.replace(place["bucketName"], bucket)
    if source.name != manifest.name.replace(".assets.", ".template."):
        content = packed(source) if asset["source"]["packaging"] == "zip" else source.read_bytes()
        s3.put_object(Bucket=bucket, Key=place["objectKey"], Body=content)
s3.put_object(Bucket=bucket, Key="elasticrecode.template.json", Body=text.encode())
print(f"{s3.meta.endpoint_url}/{bucket}/elasticrecode.template.json")
