"""The version of this command."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("elasticrecode")
except PackageNotFoundError:  # a checkout
    VERSION = "1.0.0"
