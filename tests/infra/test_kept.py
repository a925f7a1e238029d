"""Resources that hold data or an address keep their logical ids, or CloudFormation would replace them by empty ones.

`kept_ids.json` lists them by the mode of the template. Whoever adds such a resource adds its id there. An id that has
to go, with its data, is removed there on purpose.
"""

import json
from pathlib import Path

import pytest

from tests.infra.test_stack import MODES, template

KEPT = (
    "AWS::ApiGateway::RestApi",
    "AWS::ApiGatewayV2::Api",
    "AWS::CloudFront::Distribution",
    "AWS::Cognito::UserPool",
    "AWS::Cognito::UserPoolClient",
    "AWS::Cognito::UserPoolGroup",
    "AWS::DynamoDB::Table",
    "AWS::Events::EventBus",
    "AWS::KMS::Key",
    "AWS::S3::Bucket",
    "AWS::SQS::Queue",
)
IDS: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("kept_ids.json").read_text())


@pytest.mark.parametrize(("mode", "changes"), [("default", MODES[0]), ("everything", MODES[1])])
def test_resources_with_data_or_an_address_keep_their_logical_ids(mode: str, changes: dict[str, object]) -> None:
    found = {
        key: resource["Type"] for key, resource in template(**changes)["Resources"].items() if resource["Type"] in KEPT
    }
    assert found == IDS[mode]
