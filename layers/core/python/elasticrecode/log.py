"""Structured logs: every `logging` line below the name `elasticrecode` comes out as one JSON object."""

from aws_lambda_powertools import Logger

logger = Logger(service="elasticrecode", use_rfc3339=True, utc=True)
