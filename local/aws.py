"""Clients of the embedded AWS."""

from typing import Any

import boto3

from local.place import REGION, Place


def client(place: Place, service: str) -> Any:
    """A client of a service, with the rights of the account's root user."""
    create: Any = boto3.client  # its type knows services by literals only
    return create(
        service,
        endpoint_url=place.aws_url,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
