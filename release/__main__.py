"""`python -m release VERSION`: make a release of what is committed. It publishes nothing.

One commit closes the changelog's section and sets the version, and gets the tag; the next notes its hash.
"""

import subprocess
import sys

from release import artefacts, changelog, history, version
from release.history import Release, git
from release.version import ROOT, ReleaseError, Version

_BODY = "The stack, the worker's image and the client have this version. CHANGELOG.md says what it brings."
_NOTE = "The test of upgrades deploys this commit first, in clones without tags, too."
_GENERATOR = "infra.openapi"
"""The module that writes the documents of the interfaces, which have the version in them."""


def release(new: Version) -> None:
    """Commit and tag a version, note its commit, build its artefacts, and print what is left to do.

    ReleaseError when that fails; the checkout is then as before.
    """
    tag = f"v{new}"
    _check(new, tag)
    before = git("rev-parse", "HEAD")
    try:
        changelog.close(new)
        version.write(new)
        _generate()
        _commit(f"Release {new}", _BODY)
        folder = artefacts.build(new, ROOT)
        noted = Release(new, git("rev-parse", "HEAD"))
        history.append(noted)
        _commit(f"Note the commit of release {new}", _NOTE)
        git("tag", "-a", tag, noted.commit, "-m", f"ElasticRecode {new}")
    except BaseException:
        git("reset", "--quiet", "--hard", before)
        raise
    print(f"Release {new} is the commit {noted.commit}, with the tag {tag}. {folder.relative_to(ROOT)} has")
    for path in sorted(folder.iterdir()):
        print(f"  {path.stat().st_size:>12,} bytes  {path.name}")
    print(f"Nothing is published. To publish the commits and the tag: git push --atomic origin HEAD {tag}")


def _check(new: Version, tag: str) -> None:
    """ReleaseError unless the version is a new one and everything is committed."""
    if git("status", "--porcelain", "--untracked-files=no"):
        raise ReleaseError("The checkout has changes that are not committed; a release is made of a commit.")
    newest = max(version.current(), *(each.version for each in history.releases()))
    if new <= newest:
        raise ReleaseError(f"VERSION must be above {newest}, the newest release; it is {new}.")
    if git("tag", "--list", tag):
        raise ReleaseError(f"There is a tag {tag} already.")


def _generate() -> None:
    """Write the documents that have the version. A new process, as this one has imported the old version."""
    command = [sys.executable, "-m", _GENERATOR]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ReleaseError(f"`python -m {_GENERATOR}` failed:\n{done.stderr.strip()}")


def _commit(subject: str, body: str) -> None:
    git("commit", "--quiet", "--all", "-m", subject, "-m", body)


def main() -> int:
    """Make the release that the argument names; the exit status."""
    if len(sys.argv) != 2:
        print("usage: python -m release VERSION, or make release VERSION=1.2.3", file=sys.stderr)
        return 2
    try:
        release(Version.read(sys.argv[1]))
    except ReleaseError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
