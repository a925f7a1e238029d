"""Which parts of the running stack are ahead of CloudFormation, and from which files."""

import json
from pathlib import Path

import pytest

from local import sources, sync
from local.place import LocalError, Place
from local.processes import Supervisor

DEPLOYED = {"infra/a.py": "1", "functions/logs/handler.py": "1", "layers/core/python/b.py": "1", "layers/deps/c": "1"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.read({"LOCAL_DIR": str(tmp_path)})


def test_synced_files_stand_in_place_of_the_deployed_ones_of_their_part(place: Place) -> None:
    now = DEPLOYED | {"functions/logs/more.py": "2"}
    del now["functions/logs/handler.py"]
    synced = sync.Synced(place)
    assert synced.over(DEPLOYED) == DEPLOYED
    assert sources.changed(DEPLOYED, now) == ["functions/logs/handler.py", "functions/logs/more.py"]
    synced.note(["functions/logs"], now)
    assert sync.Synced(place).over(DEPLOYED) == now


def test_a_part_synced_back_stays_noted_as_cloudformation_may_not_touch_it(place: Place) -> None:
    for version in ("2", "1"):
        sync.Synced(place).note(["layers/core"], DEPLOYED | {"layers/core/python/b.py": version})
    synced = sync.Synced(place)
    assert synced.parts == ["layers/core"]
    assert synced.over(DEPLOYED) == DEPLOYED


def test_the_files_of_a_deployment_are_those_of_the_stack_its_functions_and_its_layers(place: Place) -> None:
    files = sources.read(place)
    assert {"app.py", "cdk.json", "infra/storage.py", "functions/logs/handler.py"} <= files.keys()
    assert not [path for path in files if path.startswith(("worker", "local", "tests")) or "__pycache__" in path]
    assert sources.deployed(place) is None
    sources.note(place, files)
    assert sources.deployed(place) == files
    sources.note(place, None)
    assert sources.deployed(place) is None


def test_sync_needs_a_running_stack(place: Place) -> None:
    with pytest.raises(LocalError, match="Nothing is deployed"):
        sync.sync(place, Supervisor(place))
    place.stack_file.write_text(json.dumps({}))
    with pytest.raises(LocalError, match="run `make up`"):
        sync.sync(place, Supervisor(place))
