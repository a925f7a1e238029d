"""`python -m local up|run|sync|down|clean|logs|token`."""

import os
import shutil
import sys
from collections.abc import Callable

from local import deployment, identities, processes, sync, users
from local.deployment import step
from local.place import LocalError, Place
from local.processes import Supervisor


def up(place: Place, supervisor: Supervisor) -> None:
    """Start what is missing, deploy what has changed, and leave it running."""
    from local import cluster  # aiohttp, which `sync` would spend half its time on

    deployment.refuse_other_port(place)
    if not supervisor.running():
        processes.refuse_busy_ports(place)
    place.make()
    deployed = place.stack() if place.stack_file.exists() else None
    cluster.prepare(place)
    with step("Starting the embedded AWS"):
        running = deployed if supervisor.running() else None
        supervisor.keep(processes.programs(place, running, deploying=not deployment.is_current(place)))
        deployment.wait_for_aws(place, supervisor)
    current = deployment.is_current(place)
    stack = deployment.deploy(place)
    sync.restore(place, deployed=not current)
    users.prepare(place)
    identities.prepare(place, stack["WorkerPolicy"])
    with step("Starting the front door, the cluster and the workers"):
        supervisor.keep(processes.programs(place, stack))
        deployment.wait_for_aws(place, supervisor)
        deployment.wait_for_front(place, supervisor)
        deployment.wait_for_cluster(place, supervisor)
        deployment.discover(place)


def up_and_report(place: Place, supervisor: Supervisor) -> None:
    """Start, and print the address and how to sign in."""
    up(place, supervisor)
    print(f"Up: {place.url}/ (names and addresses of the stack: {place.stack_file})")
    if place.auth != "none":
        print(
            f"Sign in on this page with a name and password of {place.users}, or\n"
            f"  curl {users.option(place)} {place.url}/api/v1   (as {users.OPERATOR};"
            f" add AS={users.USER} to be the other user)"
        )


def run(place: Place, supervisor: Supervisor) -> None:
    """Start, and run the demonstration."""
    from local.demo import demonstrate

    up(place, supervisor)
    demonstrate(place, supervisor)


def down(place: Place, supervisor: Supervisor) -> None:
    """Stop everything, keep the data."""
    del place
    supervisor.end()


def clean(place: Place, supervisor: Supervisor) -> None:
    """Stop everything, delete the data."""
    supervisor.end()
    if place.state.exists():
        shutil.rmtree(place.state)


def token(place: Place, supervisor: Supervisor) -> None:
    """Print an ID token of the user that AS names."""
    place.stack()
    if not supervisor.running():
        raise LocalError(f"Nothing runs in {place.state}; run `make up`.")
    print(users.token(place, os.environ.get("AS") or users.OPERATOR))


def logs(place: Place, supervisor: Supervisor) -> None:
    """Follow the logs of all processes."""
    del supervisor
    files = sorted(str(path) for path in place.logs.glob("*.log"))
    if not files:
        raise LocalError(f"There are no logs in {place.logs} yet; run `make up`.")
    os.execvp("tail", ["tail", "-n", "20", "-F", *files])


_COMMANDS: dict[str, Callable[[Place, Supervisor], None]] = {
    "up": up_and_report,
    "run": run,
    "down": down,
    "clean": clean,
    "logs": logs,
    "token": token,
    "sync": sync.report,
}


def main() -> int:
    """Run a command; its exit status. When it fails it prints why, and stops the processes it has started."""
    if len(sys.argv) != 2 or sys.argv[1] not in _COMMANDS:
        print(f"usage: python -m local {'|'.join(_COMMANDS)}", file=sys.stderr)
        return 2
    supervisor = None
    try:
        place = Place.read()
        supervisor = Supervisor(place)
        _COMMANDS[sys.argv[1]](place, supervisor)
    except LocalError as error:
        print(f"\n{error}" + (f"\nThe log is {error.log}" if error.log else ""), file=sys.stderr)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
    except BaseException:
        _give_up(supervisor)
        raise
    else:
        return 0
    _give_up(supervisor)
    return 1


def _give_up(supervisor: Supervisor | None) -> None:
    """Stop the processes of a start that failed."""
    if supervisor and sys.argv[1] in ("up", "run"):
        supervisor.end()


if __name__ == "__main__":
    sys.exit(main())
