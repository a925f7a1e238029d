"""Calls to AWS: clients, SQS in batches, DynamoDB items."""
