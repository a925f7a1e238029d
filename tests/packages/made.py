"""A package of a local source, made by the code of the worker, in a folder as it will lie on S3."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from elasticrecode.jobs.job import Job
from elasticrecode.jobs.uris import package_folder
from elasticrecode.media.profiles import Profile, resolve
from tests.media.case import SETTINGS
from worker.package import PackageEncoder, PackageFiles, finish
from worker.packaging.tracks import Encrypted
from worker.sandbox.runner import Runner
from worker.sandbox.steps import Step

VERSION = "0123456789"


class Package(NamedTuple):
    """A package: the folder with its entry files, what the worker says of it, and the runs that made it."""

    folder: Path
    made: PackageFiles
    steps: list[Step]


def make_package(source: Path, profile: dict[str, Any], folder: Path, encryption: Encrypted | None = None) -> Package:
    """Package a source with the profile of a request; `folder` is made, and gets what lies below the output prefix."""
    work = folder / "job"
    work.mkdir(parents=True)
    local = work / "input"
    shutil.copy(source, local)
    resolved = resolve(msgspec.convert(profile, Profile))
    job = Job(userid="u", jobid="j", input="s3://in/film.mp4", output="s3://out/", profile=resolved)
    if not resolved.package:
        raise ValueError("the profile has no package")
    runner = Runner(SETTINGS.limits)
    encoder = PackageEncoder(job, resolved.package, local, SETTINGS, runner, lambda _: None)
    results = encoder.encode(range(len(encoder.ladder.rungs)))
    made = finish(encoder, results, encryption, VERSION)
    root = folder / "out"
    for path, uri in [*((path, output.uri) for path, output in made.files), *made.unlisted]:
        target = root / uri.removeprefix(job.output)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return Package(root / package_folder(job.input), made, runner.steps)
