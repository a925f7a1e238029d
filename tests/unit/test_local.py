"""What the embedded mode refuses before it starts anything."""

import json
from pathlib import Path

import pytest

from local.deployment import refuse_other_port
from local.place import LocalError, Place


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "0"), ("PORT", "²"), ("PORT", "70000"), ("AWS_PORT", "x"), ("WORKERS", "65"), ("LEASE_SECONDS", "2")],
)
def test_a_number_that_cannot_be_is_named(name: str, value: str) -> None:
    with pytest.raises(LocalError, match=rf"{name} must be a whole number from \d+ to \d+"):
        Place.read({name: value})


def test_two_ports_are_two() -> None:
    with pytest.raises(LocalError, match="different"):
        Place.read({"PORT": "4566"})


def test_what_is_kept_stays_on_its_port(tmp_path: Path) -> None:
    place = Place.read({"LOCAL_DIR": str(tmp_path), "AWS_PORT": "5000"})
    refuse_other_port(place)
    place.stack_file.write_text(json.dumps({"AwsEndpoint": "http://localhost:5001"}))
    with pytest.raises(LocalError, match="AWS_PORT=5001"):
        refuse_other_port(place)
    place.stack_file.write_text(json.dumps({"AwsEndpoint": place.aws_url}))
    refuse_other_port(place)
