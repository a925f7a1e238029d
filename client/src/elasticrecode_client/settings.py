"""The configuration of the client: arguments, then the environment, then a profile of the configuration file.

    default = "farm"                      # the profile that is used where none is named

    [profiles.farm]
    url = "https://d111111abcdef8.cloudfront.net"
    auth = "cognito"                      # none, cognito, jwt or iam; absent: by the fields that are there
    username = "ann"
    password = "…"                        # or token = "…"; the file must then be readable by its owner alone
    user = "ann"                          # the user whose jobs are meant; absent: the caller
    region = "eu-west-1"                  # for iam
    socket_url = "wss://…/ws"             # for iam: the URL of the WebSocket API itself

A secret is only ever sent to the URL that stands beside it: a profile's password is not used with another URL.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from elasticrecode_client.auth import Auth, Cognito, SigV4, Token
from elasticrecode_client.exchange import origin
from elasticrecode_client.problems import SettingsError

LOCAL_URL = "http://localhost:8080"
"""Where `make up` serves; the URL where nothing names one."""
FIELDS = ("url", "auth", "username", "password", "token", "user", "region", "socket_url")
SECRETS = ("password", "token")
_ENVIRONMENT = {
    "url": "ELASTICRECODE_URL",
    "auth": "ELASTICRECODE_AUTH",
    "username": "ELASTICRECODE_USERNAME",
    "password": "ELASTICRECODE_PASSWORD",
    "token": "ELASTICRECODE_TOKEN",
    "user": "ELASTICRECODE_USER",
    "region": "ELASTICRECODE_REGION",
    "socket_url": "ELASTICRECODE_SOCKET_URL",
}
PROFILE = "ELASTICRECODE_PROFILE"
"""The variable that names the profile to use."""


class Settings(NamedTuple):
    """Where the deployment and its WebSocket API are, how to sign in, and whose jobs are meant; None: the caller's."""

    url: str
    auth: Auth | None = None
    user_id: str | None = None
    socket_url: str | None = None


def config_path(environ: Mapping[str, str] = os.environ) -> Path:
    """The configuration file: `elasticrecode/config.toml` in `$XDG_CONFIG_HOME`, by default `~/.config`."""
    return _folder("XDG_CONFIG_HOME", ".config", environ) / "config.toml"


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where unfinished uploads are remembered: `elasticrecode` in `$XDG_CACHE_HOME`, by default `~/.cache`."""
    return _folder("XDG_CACHE_HOME", ".cache", environ)


def load(url: str | None = None, profile: str | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings for a URL and a profile, each by default as the environment and the file have it.

    Raises SettingsError where the file cannot be read, has unknown fields, or secrets that others can read.
    """
    stored = read_profile(profile or environ.get(PROFILE), environ)
    given = {field: value for field, name in _ENVIRONMENT.items() if (value := environ.get(name))}
    layers = [stored] if profile else [given, stored]
    base = origin(url or next((layer["url"] for layer in layers if "url" in layer), LOCAL_URL))
    fields: dict[str, str] = {}
    for layer in reversed(layers):
        if "url" not in layer or origin(layer["url"]) == base:
            fields |= layer
    return Settings(base, _auth(fields), fields.get("user"), fields.get("socket_url"))


def read_profiles(environ: Mapping[str, str] = os.environ) -> dict[str, dict[str, str]]:
    """The profiles of the configuration file by name, without their secrets checked. Raises SettingsError."""
    return {name: dict(fields) for name, fields in _file(environ).get("profiles", {}).items()}


def read_profile(name: str | None, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The fields of a profile, or of the default one; empty where there is none. Raises SettingsError."""
    content = _file(environ)
    profiles = content.get("profiles", {})
    chosen = name or content.get("default")
    if chosen is None:
        return {}
    if chosen not in profiles:
        known = ", ".join(sorted(profiles)) or "none"
        raise SettingsError(f"There is no profile {chosen!r} in {config_path(environ)}; there are: {known}.")
    fields = profiles[chosen]
    unknown = sorted(set(fields) - set(FIELDS))
    if unknown or not all(isinstance(value, str) for value in fields.values()):
        raise SettingsError(f"Profile {chosen!r} may have {', '.join(FIELDS)}, all of them texts; wrong: {unknown}.")
    if any(field in fields for field in SECRETS):
        _check_owner(config_path(environ))
    return dict(fields)


def write_profile(
    name: str, fields: Mapping[str, str], *, default: bool = False, environ: Mapping[str, str] = os.environ
) -> Path:
    """Store a profile, or replace it, in a file that its owner alone can read. Returns the file's path.

    Comments of the file are lost. Raises SettingsError for unknown fields.
    """
    if unknown := sorted(set(fields) - set(FIELDS)):
        raise SettingsError(f"A profile has no fields {', '.join(unknown)}.")
    content = _file(environ)
    profiles = {**content.get("profiles", {}), name: dict(fields)}
    chosen = name if default else content.get("default")
    lines = [f"default = {_quoted(chosen)}"] if chosen else []
    for title, values in profiles.items():
        lines += ["", f"[profiles.{_quoted(title)}]"]
        lines += [f"{field} = {_quoted(value)}" for field, value in values.items()]
    path = config_path(environ)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    written = path.with_suffix(".new")
    written.unlink(missing_ok=True)
    with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write("\n".join(lines).lstrip() + "\n")
    written.replace(path)
    return path


def _auth(fields: Mapping[str, str]) -> Auth | None:
    """How the fields sign in. Raises SettingsError where `auth` needs a field that is missing."""
    kind = fields.get("auth") or ("jwt" if "token" in fields else "cognito" if "password" in fields else "none")
    if kind == "none":
        return None
    if kind == "iam":
        return SigV4(region=fields.get("region"))
    if kind in ("jwt", "cognito") and "token" in fields:
        return Token(fields["token"])
    if kind == "cognito" and "username" in fields and "password" in fields:
        return Cognito(fields["username"], fields["password"])
    needed = {"jwt": "token", "cognito": "username and password, or token"}
    if kind not in needed:
        raise SettingsError(f"auth is none, cognito, jwt or iam, not {kind!r}.")
    raise SettingsError(f"auth {kind} needs {needed[kind]}, in the environment (ELASTICRECODE_…) or in the profile.")


def _file(environ: Mapping[str, str]) -> dict[str, Any]:
    path = config_path(environ)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from None
    profiles = content.get("profiles", {})
    if not isinstance(profiles, dict) or not all(isinstance(one, dict) for one in profiles.values()):
        raise SettingsError(f"{path} must have its profiles as tables: [profiles.NAME].")
    return content


def _check_owner(path: Path) -> None:
    mode = path.stat().st_mode
    if os.name == "posix" and mode & 0o077:
        raise SettingsError(f"{path} has secrets, and others can read it: chmod 600 {path}")


def _folder(variable: str, default: str, environ: Mapping[str, str]) -> Path:
    base = environ.get(variable)
    return (Path(base) if base else Path(environ.get("HOME") or Path.home()) / default) / "elasticrecode"


def _quoted(text: str) -> str:
    """A TOML string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
