"""`python -m worker`, configured by environment variables. With `--version` it prints its version and ends."""

import logging
import os
import signal
import sys

from elasticrecode import __version__
from worker.log_format import LineFormatter
from worker.loop import Worker
from worker.settings import ConfigurationError, Settings


def main() -> int:
    """Run the worker until SIGTERM or SIGINT. Returns the exit status: 0, or 2 if the configuration is wrong."""
    if sys.argv[1:] == ["--version"]:
        print(f"elasticrecode {__version__}")
        return 0
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("botocore").setLevel(logging.WARNING)
    if "AWS_REGION" in os.environ:  # the one that AWS's containers have; boto3 reads the other
        os.environ.setdefault("AWS_DEFAULT_REGION", os.environ["AWS_REGION"])
    try:
        worker = Worker(Settings.read(os.environ))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.stop())
        worker.run()
    except ConfigurationError as error:
        print(f"The worker's configuration is wrong: {error}.", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
