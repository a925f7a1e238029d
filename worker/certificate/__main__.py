"""`python -m worker.certificate again CERTIFICATE SOURCE FOLDER` makes the files of a certificate again."""

import argparse
import os
import sys
from pathlib import Path

from worker.certificate.again import Unlike, make_again, read
from worker.errors import JobError
from worker.sandbox.limits import JobLimits
from worker.sandbox.runner import Runner
from worker.settings import Settings


def main(arguments: list[str]) -> int:
    """Run the command. Returns the exit status: 0, or 1 where the files cannot be made again."""
    parser = argparse.ArgumentParser(prog="python -m worker.certificate", description=__doc__)
    parser.add_argument("command", choices=["again"])
    parser.add_argument("certificate", type=Path, help="the JSON of the certificate")
    parser.add_argument("source", type=Path, help="the source that it names, as a local file")
    parser.add_argument("folder", type=Path, help="where the files go: a folder that is empty or not there")
    options = parser.parse_args(arguments)
    environ = {"WORKER_TYPE": "ffmpeg", "QUEUE_NAME": "-", "CONTROL_PLANE": "-", **os.environ}
    settings = Settings.read(environ)
    options.folder.mkdir(parents=True, exist_ok=True)
    folder = options.folder.resolve()
    runner = Runner(JobLimits(), settings.sandbox)
    try:
        certificate = read(options.certificate)
        for path in make_again(certificate, options.source, folder, settings, runner):
            print(path)
        for reason in certificate.unrepeatable:
            print(f"The frames may differ: {reason}", file=sys.stderr)
    except (Unlike, JobError, OSError) as error:
        print(f"{error}.".replace("..", "."), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
