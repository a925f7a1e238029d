"""What a running command has: its client, which is made when it is needed, and its output."""

from __future__ import annotations

from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from elasticrecode_client.command.output import Output

if TYPE_CHECKING:
    import click

    from elasticrecode_client.client import Client

_PATIENCE = 5.0
"""Seconds of retries before a person hears that the service does not answer."""
_LONG_PATIENCE = 600.0


class Session:
    """The client and the output of one command. `user` is the user whose jobs are meant; None: the caller."""

    def __init__(
        self, url: str | None = None, deployment: str | None = None, user: str | None = None, *, as_json: bool = False
    ) -> None:
        self.url = url
        self.deployment = deployment
        self.user = user
        self.out = Output(as_json=as_json)

    @classmethod
    def of(cls, context: click.Context) -> Self:
        """The session of a command's options."""
        given: dict[str, Any] = {
            name: context.meta.get(f"{__name__}.at_{name}") for name in ("url", "deployment", "user")
        }
        return cls(**given, as_json=bool(context.meta.get(f"{__name__}.at_json")))

    @cached_property
    def client(self) -> Client:
        """The client of the deployment. Raises SettingsError."""
        from elasticrecode_client.client import Client

        return Client(self.url, profile=self.deployment, user_id=self.user, patience=_PATIENCE)

    def be_patient(self) -> None:
        """Bear an outage of minutes from here on: what is waited for takes longer."""
        self.client.exchange.patience = _LONG_PATIENCE

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if "client" in self.__dict__:
            self.client.close()
