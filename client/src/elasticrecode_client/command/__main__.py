"""`python -m elasticrecode_client.command`: the command, where its script is not installed."""

from elasticrecode_client.command import main

main()
