"""moto's multipart uploads with the answer of S3 for one that is not there."""

from typing import Any

import pytest
from moto.s3.exceptions import NoSuchUpload
from moto.s3.models import S3Backend


def answer_as_s3(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have moto answer NoSuchUpload, where it fails with a KeyError of its own."""
    complete = S3Backend.complete_multipart_upload

    def complete_known(self: S3Backend, bucket_name: str, multipart_id: str, body: Any) -> Any:
        if multipart_id not in self.get_bucket(bucket_name).multiparts:
            raise NoSuchUpload(multipart_id)
        return complete(self, bucket_name, multipart_id, body)

    monkeypatch.setattr(S3Backend, "complete_multipart_upload", complete_known)
