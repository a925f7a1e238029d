"""The structured logger: each record of the logger `elasticrecode` and those below it is one JSON object."""

from aws_lambda_powertools import Logger

logger = Logger(service="elasticrecode", use_rfc3339=True, utc=True)
