"""Where the settings come from, and that a secret stays with its URL."""

import os
from pathlib import Path

import pytest

from elasticrecode_client import Client, Cognito, SettingsError, SigV4, Token, settings
from elasticrecode_client.exchange import origin

FARM = {"url": "https://farm.example", "auth": "cognito", "username": "ann", "password": 'a"\\ é secret'}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def test_without_any_settings_the_deployment_of_this_machine_is_meant(environ: dict[str, str]) -> None:
    assert settings.load(environ=environ) == ("http://localhost:8080", None, None, None)


def test_a_written_profile_is_read_and_its_file_is_its_owners(environ: dict[str, str]) -> None:
    path = settings.write_profile("farm", FARM, default=True, environ=environ)
    settings.write_profile("a b", {"url": "http://localhost:1", "user": "bob"}, environ=environ)
    assert path.stat().st_mode & 0o777 == 0o600
    loaded = settings.load(environ=environ)
    assert (loaded.url, loaded.user_id) == (FARM["url"], None)
    assert isinstance(loaded.auth, Cognito)
    assert settings.load(profile="a b", environ=environ) == ("http://localhost:1", None, "bob", None)
    assert settings.read_profiles(environ)["farm"] == FARM


def test_a_secret_that_others_can_read_is_refused(environ: dict[str, str]) -> None:
    settings.write_profile("farm", FARM, default=True, environ=environ).chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        settings.load(environ=environ)


def test_the_environment_comes_before_the_default_profile(environ: dict[str, str]) -> None:
    settings.write_profile("farm", FARM | {"user": "ann"}, default=True, environ=environ)
    environ |= {
        "ELASTICRECODE_URL": "https://farm.example/api/",
        "ELASTICRECODE_TOKEN": "t",
        "ELASTICRECODE_USER": "bob",
    }
    loaded = settings.load(environ=environ)
    assert (loaded.url, loaded.user_id) == ("https://farm.example", "bob")
    assert isinstance(loaded.auth, Token)


def test_a_secret_is_not_used_with_another_url(environ: dict[str, str]) -> None:
    settings.write_profile("farm", FARM, default=True, environ=environ)
    assert settings.load("https://elsewhere.example", environ=environ).auth is None
    environ |= {"ELASTICRECODE_URL": "https://third.example", "ELASTICRECODE_TOKEN": "t"}
    assert settings.load("https://elsewhere.example", environ=environ).auth is None
    assert isinstance(settings.load(environ=environ).auth, Token)
    assert isinstance(settings.load("https://third.example/", environ=environ).auth, Token)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"auth": "cognito"}, "username and password"),
        ({"auth": "jwt"}, "needs token"),
        ({"auth": "basic"}, "not 'basic'"),
        ({"url": "ftp://x"}, "https://"),
        ({"url": "https://ann:secret@x"}, "no user name"),
        ({"url": "http://[::1"}, "is not the URL"),
        ({"url": "http://localhost:http"}, "is not the URL"),
    ],
)
def test_wrong_settings_say_what_to_do(environ: dict[str, str], fields: dict[str, str], words: str) -> None:
    settings.write_profile("p", fields, default=True, environ=environ)
    with pytest.raises(SettingsError, match=words):
        settings.load(environ=environ)


@pytest.mark.parametrize(
    "text", ["[profiles", "profiles = 1", "[profiles.p]\nurl = 5", '[profiles.p]\nword = "x"', 'default = "q"']
)
def test_a_broken_file_is_named(environ: dict[str, str], text: str) -> None:
    path = settings.config_path(environ)
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(SettingsError):
        settings.load(profile="p", environ=environ)


def test_an_unknown_profile_names_the_known_ones(environ: dict[str, str]) -> None:
    settings.write_profile("farm", FARM, environ=environ)
    with pytest.raises(SettingsError, match="there are: farm"):
        settings.load(profile="fram", environ=environ)


def test_iam_signs(environ: dict[str, str]) -> None:
    environ |= {
        "ELASTICRECODE_AUTH": "iam",
        "ELASTICRECODE_URL": "https://x.example",
        "ELASTICRECODE_REGION": "eu-west-1",
    }
    assert isinstance(settings.load(environ=environ).auth, SigV4)


@pytest.mark.parametrize(
    "url", ["https://x/", "https://x/api", "https://x/api/", "https://x/api/v1", "https://x/api/v1/"]
)
def test_any_url_of_a_deployment_will_do(url: str) -> None:
    assert origin(url) == "https://x"


def test_a_client_takes_what_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELASTICRECODE_URL", "https://farm.example")
    monkeypatch.setenv("ELASTICRECODE_TOKEN", "t")
    with Client() as client:
        assert client.url == "https://farm.example"
        assert isinstance(client.exchange.auth, Token)
    with Client("https://elsewhere.example") as client:
        assert not client.exchange.auth
    assert os.environ["ELASTICRECODE_TOKEN"] == "t"
