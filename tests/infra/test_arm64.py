"""The layers as the stack deploys them, on its architecture; `make arm64` installs the tools for it."""

import pytest

from infra import arm64

pytestmark = pytest.mark.skipif(not (arm64.FOLDER / "installed").exists(), reason="`make arm64` was not run here")


def test_every_function_is_imported_with_the_deployed_layers_on_arm64() -> None:
    said = arm64.imported()
    assert "functions imported by Python 3.14" in said
    assert "on aarch64" in said
    for library in ("_pycurl", "_rust", "jsonschema_rs", "_core", "_cffi_backend"):
        assert library in said
