"""docs/how-to/eks.md names files, objects, queues and outputs that exist."""

import json
import re

import yaml

from infra import options
from tests.conftest import ROOT
from tests.docs.blocks import read
from tests.kit.manifests import CONTEXT, DOC, KIT, WORKERS, rendered, settings

TEXT = DOC.read_text()
SHELL = "\n".join(block.text for block in read(DOC) if block.language == "bash")
OBJECTS = {(item["kind"], item["metadata"]["name"]) for item in rendered(settings())}
DEPLOY = re.findall(r'make deploy ARGS="([^"]*)"', SHELL)


def heredoc(name: str) -> dict[str, object]:
    """A JSON file that the page writes with a here-document."""
    (text,) = re.findall(rf"cat > {name} <<EOF\n(.*?)EOF\n", SHELL, re.DOTALL)
    document: dict[str, object] = json.loads(text)
    return document


def actions(document: object) -> set[str]:
    return set(re.findall(r"[a-z0-9]+:[A-Z]\w+", json.dumps(document)))


def test_named_files_exist() -> None:
    named = set(re.findall(r"deploy/k8s[\w./-]*", TEXT))
    assert {path for path in named if not (ROOT / path.rstrip("./")).exists()} == set()
    assert {path for path in named if path.endswith(".yaml")} >= {f"deploy/k8s/workers/{kind}.yaml" for kind in WORKERS}


def test_named_queues_are_those_of_the_workers() -> None:
    assert set(re.findall(r"\b(?:ffmpeg|vmaf)_[a-z]+", TEXT)) == {kind.queue for kind in WORKERS.values()}


def test_the_deployment_command_names_each_kind_of_queue() -> None:
    (arguments,) = DEPLOY
    context = dict(re.findall(r"-c (\w+)=(\S+)", arguments.replace("$CLUSTER", "video")))
    read = options.read(CONTEXT | context)
    assert read.discovery
    assert read.queues == {
        group: [kind.queue for kind in WORKERS.values() if kind.group == group] for group in ("cpu", "gpu", "vmaf")
    }
    assert set(re.findall(r"-c (\w+)", TEXT)) <= set(CONTEXT)


def test_named_objects_are_in_the_manifests() -> None:
    kinds = {"deployment": "Deployment", "serviceaccount": "ServiceAccount", "scaledobject": "ScaledObject"}
    named = re.findall(r"-n elasticrecode (deployment|serviceaccount|scaledobject)[/ ]([\w-]+)", TEXT)
    named += re.findall(r"(scaledobject|deployment) -n elasticrecode ([\w-]+)", TEXT)
    assert named
    assert {(kinds[kind], name) for kind, name in named} <= OBJECTS
    accounts = re.findall(r"--namespace (\S+) --service-account (\S+)", SHELL)
    assert accounts == [("keda", "keda-operator"), ("elasticrecode", "worker")]
    assert {("Namespace", "elasticrecode"), ("ServiceAccount", "worker")} <= OBJECTS


def test_the_group_is_the_same_everywhere() -> None:
    (group,) = re.findall(r'^GROUP = "(.+)"', (ROOT / "infra" / "clusters.py").read_text(), re.MULTILINE)
    assert ("ClusterRoleBinding", group) in OBJECTS
    assert set(re.findall(r"(?:--kubernetes-groups|--group|--as-group=|group) `?(\w+-discovery)", TEXT)) == {group}


def test_roles_have_the_permissions_of_keda_and_workers() -> None:
    assert actions(heredoc("/tmp/keda.json")) == {"sqs:GetQueueAttributes"}
    assert actions(heredoc("/tmp/trust.json")) == {"sts:AssumeRole", "sts:TagSession"}
    assert 'attach-role-policy --role-name elasticrecode-worker --policy-arn "$(output WorkerPolicy)"' in SHELL


def test_each_variable_is_set_before_it_is_used() -> None:
    known = {"1", "role"}
    for line in SHELL.splitlines():
        used = set(re.findall(r"\$\{?(\w+)", line))
        known |= set(re.findall(r"(?:^|export |[ (])([A-Z_]+)=", line)) | set(re.findall(r"^read .* ([A-Z_]+)$", line))
        assert used <= known, line


def test_the_page_writes_every_setting() -> None:
    (line,) = re.findall(r"^printf '(.*)' .* > deploy/k8s/settings.env$", SHELL, re.MULTILINE)
    assert line == "".join(rf"{name}=%s\n" for name in settings())


def test_the_cluster_has_the_access_mode_that_discovery_needs() -> None:
    (text,) = re.findall(r"eksctl create cluster -f - <<EOF\n(.*?)EOF\n", SHELL, re.DOTALL)
    config = yaml.safe_load(text)
    assert config["accessConfig"]["authenticationMode"] in ("API", "API_AND_CONFIG_MAP")
    assert config["autoModeConfig"] == {"enabled": True}


def test_outputs_and_numbers_match_the_code() -> None:
    stack = "".join(path.read_text() for path in sorted((ROOT / "infra").glob("*.py")))
    queues = (ROOT / "infra" / "storage.py").read_text()
    outputs = set(re.findall(r"\$\(output (\w+)\)|the output `(\w+)`|`(Url|RestUrl)`", TEXT))
    assert {name for names in outputs for name in names if name and f'"{name}"' not in stack} == set()
    assert re.findall(r"but (\d+) receives", TEXT) == re.findall(r"_MAX_RECEIVES = (\d+)", queues)
    scaled = (KIT / "workers" / "cpu.yaml").read_text()
    assert re.findall(r"for `cooldownPeriod`, (\d+) s", TEXT) == re.findall(r"cooldownPeriod: (\d+)", scaled)
