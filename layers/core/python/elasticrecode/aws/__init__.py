"""Calls to AWS: clients, SQS messages, DynamoDB items."""
