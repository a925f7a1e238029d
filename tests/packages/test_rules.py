"""Each rule passes on a right package, and reports one that is broken on purpose; no rule lacks its broken package."""

import functools
import http.server
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.packages import sample
from tests.packages.breakages import BREAKAGES, DELIVERY, Breakage
from tests.packages.check import broken, check, main, table
from tests.packages.delivery import TYPES
from tests.packages.package import Package, download
from tests.packages.rules import RULES
from tests.packages.sample import ENCRYPTED, HDR, Spec
from tests.packages.table import PAGE, page

Made = Callable[[Spec], Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Packages by what they are made of, each made once."""
    return functools.cache(lambda spec: sample.make(tmp_path_factory.mktemp("made"), spec))


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a package as a bucket with the right headers does."""

    extensions_map = {ending: types[0] for ending, types in TYPES.items()}  # noqa: RUF012  the base class has it so

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class has it so
        return


@pytest.fixture
def served(made: Made) -> Iterator[str]:
    """The URL of a right package."""
    handler = functools.partial(Handler, directory=made(Spec()))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("spec", [Spec(), HDR, ENCRYPTED], ids=["plain", "HDR", "encrypted"])
def test_a_right_package_breaks_no_rule(made: Made, spec: Spec) -> None:
    rows = check(Package(made(spec), key=spec.key or None))
    assert broken(rows) == set(), table(rows)


@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda breakage: breakage.rule)
def test_a_broken_package_breaks_its_rule_and_what_follows_from_it(
    made: Made, tmp_path: Path, breakage: Breakage
) -> None:
    folder = tmp_path / "package"
    shutil.copytree(made(breakage.spec), folder)
    breakage.change(folder)
    rows = check(Package(folder, key=breakage.spec.key or None))
    assert broken(rows) == {breakage.rule, *breakage.also.split()}, table(rows)


def test_a_fetched_package_breaks_no_rule(served: str, tmp_path: Path) -> None:
    assert len(download(f"{served}master.m3u8", tmp_path)) > 15
    rows = check(Package(tmp_path))
    assert broken(rows) == set(), table(rows)
    assert {"content-types", "no-redirects", "cross-origin"} <= {row.rule.name for row in rows}


@pytest.mark.parametrize("breakage", DELIVERY, ids=lambda breakage: breakage.rule)
def test_wrong_headers_break_their_rule(served: str, tmp_path: Path, breakage: Breakage) -> None:
    download(served, tmp_path)
    breakage.change(tmp_path)
    assert broken(check(Package(tmp_path))) == {breakage.rule}


def test_each_rule_has_a_package_that_breaks_it() -> None:
    assert sorted(breakage.rule for breakage in [*BREAKAGES, *DELIVERY]) == sorted(RULES)


def test_the_page_of_rules_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.packages.table"
    assert sum(line.startswith("| `") for line in page().splitlines()) == len(RULES)


def test_the_command_prints_the_table_and_fails_on_a_broken_must(
    made: Made, served: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([served]) == 0
    assert "FAIL 0, miss 0" in capsys.readouterr().out
    folder = tmp_path / "package"
    shutil.copytree(made(Spec()), folder)
    master = folder / "master.m3u8"
    master.write_text(master.read_text().replace("FRAME-RATE=25.000", "FRAME-RATE=30.000"))
    assert main([str(folder)]) == 1
    assert "frame-rate-is-rate       MUST    FAIL" in capsys.readouterr().out
