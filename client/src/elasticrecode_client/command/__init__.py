"""The command `elasticrecode`: jobs, batches and webhooks from a shell, and scores of local files."""

import sys


def main() -> None:
    """Run the command with the arguments of the process, and exit with one of the statuses in `exits`."""
    from elasticrecode_client.command.run import run

    sys.exit(run(sys.argv[1:]))
