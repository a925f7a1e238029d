"""`python -m elasticrecode_client`: the command, where its script is not on the PATH."""

from elasticrecode_client.command import main

main()
