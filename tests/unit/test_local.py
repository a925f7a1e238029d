"""The settings of an environment on one machine, its private folder, and its users."""

import json
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from local import users
from local.__main__ import token
from local.deployment import refuse_other_port
from local.place import LocalError, Place
from local.processes import Supervisor, refuse_busy_ports


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "0"), ("PORT", "²"), ("PORT", "70000"), ("AWS_PORT", "x"), ("WORKERS", "65"), ("LEASE_SECONDS", "2")],
)
def test_a_number_out_of_range_is_refused_with_its_range(name: str, value: str) -> None:
    with pytest.raises(LocalError, match=rf"{name} must be a whole number from \d+ to \d+"):
        Place.read({name: value})


def test_an_unknown_word_is_refused_with_the_allowed_ones() -> None:
    with pytest.raises(LocalError, match="IAM must be open or enforced, not 'on'"):
        Place.read({"IAM": "on"})


@pytest.mark.parametrize("ports", [{"PORT": "4566"}, {"K8S_PORT": "8080"}, {"AWS_PORT": "9000", "K8S_PORT": "9000"}])
def test_the_three_ports_must_differ(ports: dict[str, str]) -> None:
    with pytest.raises(LocalError, match="PORT, AWS_PORT and K8S_PORT must be different"):
        Place.read(ports)


@pytest.mark.parametrize("name", ["PORT", "AWS_PORT", "K8S_PORT"])
def test_a_busy_port_is_refused_with_its_variable(name: str) -> None:
    with socket.socket() as busy, socket.socket() as other, socket.socket() as another:
        for probe in (busy, other, another):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # kept from others, and free all the same
            probe.bind(("127.0.0.1", 0))
        busy.listen()
        names = [name, *({"PORT", "AWS_PORT", "K8S_PORT"} - {name})]
        ports = dict(zip(names, (str(probe.getsockname()[1]) for probe in (busy, other, another)), strict=True))
        with pytest.raises(LocalError, match=rf"Port {ports[name]} is used .* {name}="):
            refuse_busy_ports(Place.read(ports))


def test_data_of_another_aws_port_is_refused(tmp_path: Path) -> None:
    place = Place.read({"LOCAL_DIR": str(tmp_path), "AWS_PORT": "5000"})
    refuse_other_port(place)
    place.stack_file.write_text(json.dumps({"AwsEndpoint": "http://localhost:5001"}))
    with pytest.raises(LocalError, match="AWS_PORT=5001"):
        refuse_other_port(place)
    place.stack_file.write_text(json.dumps({"AwsEndpoint": place.aws_url}))
    refuse_other_port(place)


@pytest.mark.parametrize("mode", [None, 0o755, 0o777])
def test_the_folder_is_private_even_if_it_existed(tmp_path: Path, mode: int | None) -> None:
    folder = tmp_path / "above" / "folder"
    if mode:
        folder.mkdir(parents=True)
        folder.chmod(mode)
    Place.read({"LOCAL_DIR": str(folder)}).make()
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LocalError, match="file cannot be created as a private folder"):
        Place.read({"LOCAL_DIR": str(tmp_path / "file")}).make()


def test_an_empty_local_dir_is_the_default_folder() -> None:
    assert Place.read({"LOCAL_DIR": ""}) == Place.read({})


@pytest.mark.parametrize("name", ["", "a folder"])
def test_the_option_of_curl_finds_the_environment_from_any_shell(tmp_path: Path, name: str) -> None:
    place = Place.read({"LOCAL_DIR": str(tmp_path / name)} if name else {})
    script = tmp_path / "make"
    script.write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    script.chmod(0o755)
    shell = [shutil.which("bash") or "bash", "-c", f"printf '%s\n' {users.option(place)}"]
    output = subprocess.run(shell, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True).stdout
    folder = f"LOCAL_DIR={tmp_path / name}|" if name else ""
    assert output == f"-H\nAuthorization: -s|token|{folder}\n"


def test_a_token_needs_a_deployed_and_running_stack_and_a_known_user(tmp_path: Path) -> None:
    place = Place.read({"LOCAL_DIR": str(tmp_path)})
    with pytest.raises(LocalError, match="Nothing is deployed"):
        token(place, Supervisor(place))
    with pytest.raises(LocalError, match="Nothing is deployed"):
        users.token(place, users.USER)
    place.stack_file.write_text("{}")
    with pytest.raises(LocalError, match="Nothing runs"):
        token(place, Supervisor(place))
    with pytest.raises(LocalError, match="There is no user local"):
        users.token(place, users.USER)


def test_users_of_an_earlier_deployment_get_no_token_without_cognito(tmp_path: Path) -> None:
    place = Place.read({"LOCAL_DIR": str(tmp_path)})
    place.stack_file.write_text(json.dumps({"AwsEndpoint": place.aws_url}))
    place.users.write_text(json.dumps({users.USER: "secret"}))
    with pytest.raises(LocalError, match="make up AUTH=cognito"):
        users.token(place, users.USER)
