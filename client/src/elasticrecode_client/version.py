"""The version of the client, which is that of the product."""

__version__ = "1.0.0"
