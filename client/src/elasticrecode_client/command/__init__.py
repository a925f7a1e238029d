"""The command `elasticrecode`: jobs, batches and webhooks from a shell, and scores of local files."""
