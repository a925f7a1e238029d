"""Check a package: `python -m tests.packages.check FOLDER|URL [--key HEX] [--all]` prints a table of rules."""

import argparse
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.packages import (  # noqa: F401  these modules register their rules
    apple_lists,
    apple_rest,
    apple_video,
    cmaf,
    dash,
    delivery,
    hls,
    images,
    protection,
)
from tests.packages.package import Package, download
from tests.packages.rules import RULES, Finding, Rule


class Row(NamedTuple):
    """A finding with its rule."""

    rule: Rule
    finding: Finding

    @property
    def verdict(self) -> str:
        """pass; FAIL where a MUST is broken; miss where a SHOULD is not met."""
        return "pass" if self.finding.passed else {"MUST": "FAIL", "SHOULD": "miss"}[self.rule.demand]


def check(package: Package) -> list[Row]:
    """The findings of all rules, in their order; a rule that does not apply finds nothing."""
    return [Row(rule, finding) for rule in RULES.values() for finding in rule.check(package)]


def broken(rows: Iterable[Row]) -> set[str]:
    """The names of rules with a finding that does not pass."""
    return {row.rule.name for row in rows if not row.finding.passed}


def table(rows: Sequence[Row], *, every: bool = False) -> str:
    """The rows as text: each finding that does not pass, and of each rule that passes its first, unless `every`."""
    lines = [f"{'rule':24} {'demand':7} {'verdict':7} {'where':34} measured"]
    for name, rule in RULES.items():
        mine = [row for row in rows if row.rule.name == name]
        shown = mine if every else [row for row in mine if row.verdict != "pass"] or mine[:1]
        for row in shown:
            count = f" (and {len(mine) - 1} more)" if row.verdict == "pass" and not every and len(mine) > 1 else ""
            lines.append(
                f"{name:24} {rule.demand:7} {row.verdict:7} {row.finding.where:34} {row.finding.measured}{count}"
            )
        if not mine:
            lines.append(f"{name:24} {rule.demand:7} {'-':7} nothing of this kind in the package")
    counts = {verdict: sum(row.verdict == verdict for row in rows) for verdict in ("pass", "FAIL", "miss")}
    return "\n".join([*lines, ", ".join(f"{verdict} {count}" for verdict, count in counts.items())])


def main(arguments: Sequence[str]) -> int:
    """Check one package; 1 where a MUST is broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.packages.check", description=__doc__)
    parser.add_argument("package", help="a folder with master.m3u8 or manifest.mpd, or its URL")
    parser.add_argument("--key", type=bytes.fromhex, help="the content key in hex, to decrypt and to look for")
    parser.add_argument("--all", action="store_true", help="every finding, not one for each rule that passes")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(options.package)
        if options.package.startswith(("http://", "https://")):
            root = Path(folder)
            download(options.package, root)
        rows = check(Package(root, key=options.key))
        sys.stdout.write(table(rows, every=options.all) + "\n")
    return int(any(row.verdict == "FAIL" for row in rows))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
