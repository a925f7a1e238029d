"""Which Kubernetes Deployments are workers of this control plane, from their annotations and environment."""

import re
from typing import Any, NamedTuple, cast, get_args

import msgspec
from msgspec import DecodeError, Raw, Struct, field

from elasticrecode.media.codecs import PLATFORMS
from elasticrecode.media.profiles import PRICE_MODELS, PriceModel
from elasticrecode.workers.fleet import ALL_PRIORITIES, Worker, WorkerType

FAMILY = "elastirecord.kubernetes.io/"
"""Prefix of the annotations; the contract spells it so."""

_QUEUE = re.compile(r"[\w-]{1,80}", re.ASCII)
_PRIORITY = re.compile(r"(\d{1,3}) ?- ?(\d{1,3})", re.ASCII)
_WEIGHT = re.compile(r"\d{1,6}(\.\d{1,6})?", re.ASCII)
_MOST_REPLICAS = 1_000_000
_UNREADABLE = (DecodeError, UnicodeDecodeError)
_TYPES: tuple[WorkerType, ...] = get_args(WorkerType)


class Annotations(Struct, rename=lambda name: FAMILY + name.replace("_", "-")):
    """The annotations of this product; None where one is not there."""

    worker: str | None = None
    platform: str | None = None
    priority: str | None = None
    price_model: str | None = None
    weight: str | None = None
    drain: str | None = None


class Metadata(Struct):
    """Names of a Deployment, and its annotations."""

    namespace: str | None = None
    name: str | None = None
    annotations: Annotations | None = None


class Source(Struct):
    """Somewhere else that a variable comes from. What it is does not matter: it can't be read from here."""


class Variable(Struct):
    """A variable of a container."""

    name: str
    value: str | None = None
    valueFrom: Source | None = None


class Container(Struct):
    """A container's environment."""

    env: list[Variable] | None = None
    envFrom: list[Source] | None = None


class PodSpec(Struct):
    """The containers of a Deployment's pods."""

    containers: list[Container] | None = None


class Template(Struct):
    """What pods are made from."""

    spec: PodSpec | None = None


class Spec(Struct):
    """What is wished for."""

    replicas: int | None = None
    template: Template | None = None


class Status(Struct):
    """What there is."""

    readyReplicas: int | None = None


class Deployment(Struct):
    """As much of a Deployment as is looked at. Kubernetes leaves out what is empty, or writes null."""

    metadata: Metadata | None = None
    spec: Spec | None = None
    status: Status | None = None


class Unread(NamedTuple):
    """A Deployment that says it is a worker and is written as no Deployment is."""

    namespace: str
    name: str
    reason: str


class Page(NamedTuple):
    """A page of a list of Deployments. `more` asks for the next one, and is empty on the last."""

    deployments: list[Deployment | Unread]
    more: str


class Found(Struct, frozen=True):
    """A Deployment that says it is a worker of this control plane.

    `worker` is None where it can't be used. `faults` are sentences about what is wrong, also with one that is used.
    """

    cluster: str
    namespace: str
    name: str
    worker: Worker | None
    faults: list[str]


class _ListMetadata(Struct):
    more: str | None = field(name="continue", default=None)


class _List(Struct):
    # Without `items` it is something else, and not an empty list.
    items: list[Deployment] | None
    metadata: _ListMetadata | None = None


class _RawList(Struct):
    items: list[Raw] | None
    metadata: _ListMetadata | None = None


_list = msgspec.json.Decoder(_List)
_raw_list = msgspec.json.Decoder(_RawList)
_deployment = msgspec.json.Decoder(Deployment)


def read_page(body: bytes) -> Page:
    """The Deployments in an answer of the Kubernetes API. msgspec.DecodeError when it is no list of anything.

    Those that can't be read are left out, but for those that say they are workers.
    """
    found: _List | _RawList
    try:
        try:
            found = _list.decode(body)
            deployments: list[Deployment | Unread] = [*(found.items or ())]
        except _UNREADABLE:
            found = _raw_list.decode(body)
            deployments = [item for raw in found.items or () if (item := _one(raw))]
    except (UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(str(error)) from None
    return Page(deployments, (found.metadata and found.metadata.more) or "")


def _one(raw: Raw) -> Deployment | Unread | None:
    try:
        return _deployment.decode(raw)
    except _UNREADABLE as error:
        reason = str(error)
    try:
        metadata = _member(msgspec.json.decode(raw), "metadata")
    except _UNREADABLE:
        return None
    worker = _member(_member(metadata, "annotations"), FAMILY + "worker")
    if not isinstance(worker, str) or _plain(worker) != "enable":
        return None
    namespace, name = (str(_member(metadata, key) or "") for key in ("namespace", "name"))
    return Unread(namespace[:253], name[:253], reason)


def _member(thing: Any, key: str) -> Any:
    return thing.get(key) if isinstance(thing, dict) else None


def worker(deployment: Deployment | Unread, cluster: str, control_queue: str) -> Found | None:
    """What a Deployment is to the control plane that listens on `control_queue`. None for one that is nothing to it.

    What a worker can't do without makes it unusable where it is wrong: its queue, type and platform. Other annotations
    that are wrong count as not given.
    """
    if isinstance(deployment, Unread):
        reason = f"It can't be read: {deployment.reason}."
        return Found(cluster, deployment.namespace, deployment.name, None, [reason])
    metadata = deployment.metadata or Metadata()
    said = metadata.annotations
    if said is None or _plain(said.worker) != "enable":
        return None
    spec = deployment.spec or Spec()
    environment = _Environment(spec)
    namespace, name = metadata.namespace or "", metadata.name or ""
    hidden = environment.hidden("CONTROL_PLANE")
    if hidden:
        reason = f"{hidden}, so it can't be told whose worker it is. Give CONTROL_PLANE its value in `env`."
        return Found(cluster, namespace, name, None, [reason])
    if environment.value("CONTROL_PLANE") != control_queue:
        return None

    queue, kind, fatal = _essentials(environment, control_queue)
    platform = _plain(said.platform) or "cpu"
    if platform not in PLATFORMS:
        fatal.append(_wrong("platform", said.platform, "cpu or gpu"))
    if not name:
        fatal.append("It has no name.")
    priority, price, weight, draining, faults = _wishes(said)
    if fatal:
        return Found(cluster, namespace, name, None, fatal + faults)
    ready = deployment.status.readyReplicas if deployment.status else None
    found = Worker(
        cluster=cluster,
        namespace=namespace,
        name=name,
        queue=queue,
        kind=cast(WorkerType, kind),
        platform="gpu" if platform == "gpu" else "cpu",
        ready=min(max(0, ready or 0), _MOST_REPLICAS),
        desired=min(max(0, 1 if spec.replicas is None else spec.replicas), _MOST_REPLICAS),
        price=price,
        priority=priority,
        weight=weight,
        draining=draining,
    )
    return Found(cluster, namespace, name, found, faults)


class _Environment:
    """The environment of a Deployment's first container."""

    def __init__(self, spec: Spec) -> None:
        template = (spec.template and spec.template.spec) or PodSpec()
        first = template.containers[0] if template.containers else Container()
        # Of two variables with one name, the last counts.
        self._variables = {variable.name: variable for variable in first.env or ()}
        self._from_elsewhere = bool(first.envFrom)

    def hidden(self, name: str) -> str:
        """Why a variable's value is not known before the container runs, and nothing where it is."""
        variable = self._variables.get(name)
        if variable is None:
            return f"{name} is not in `env` and may come from `envFrom`" if self._from_elsewhere else ""
        if variable.valueFrom is not None:
            return f"{name} comes from `valueFrom`"
        return f"{name} refers to other variables" if "$(" in (variable.value or "") else ""

    def value(self, name: str) -> str:
        """A variable's value, empty where it has none."""
        variable = self._variables.get(name)
        return (variable.value if variable else None) or ""


def _essentials(environment: _Environment, control_queue: str) -> tuple[str, str, list[str]]:
    """Queue and worker type, and what is wrong with them."""
    faults = []
    for name in ("QUEUE_NAME", "WORKER_TYPE"):
        hidden = environment.hidden(name)
        if hidden:
            faults.append(f"{hidden}, which can't be read from here. Give it its value in `env`.")
        elif not environment.value(name):
            faults.append(f"{name} is not set in its first container.")
    queue, kind = environment.value("QUEUE_NAME"), environment.value("WORKER_TYPE").lower()
    if queue and not environment.hidden("QUEUE_NAME"):
        if not _QUEUE.fullmatch(queue):
            faults.append(f"QUEUE_NAME is {_shown(queue)}, which can't be the name of an SQS queue.")
        elif queue == control_queue:
            faults.append("QUEUE_NAME and CONTROL_PLANE are the same queue.")
    if kind and not environment.hidden("WORKER_TYPE") and kind not in _TYPES:
        faults.append(f"WORKER_TYPE is {_shown(kind)}, and must be one of {', '.join(_TYPES)}.")
    return queue, kind, faults


def _wishes(said: Annotations) -> tuple[tuple[int, int], PriceModel, float, bool, list[str]]:
    """Priorities, price model, weight and whether it drains, by default where wrong, and what is wrong with them."""
    faults = []
    priority, price, weight = ALL_PRIORITIES, PRICE_MODELS[0], 1.0
    if _plain(said.priority):
        bounds = _PRIORITY.fullmatch(_plain(said.priority))
        low, high = (int(bounds[1]), int(bounds[2])) if bounds else (1, 0)
        if low <= high <= 100:
            priority = (low, high)
        else:
            faults.append(_wrong("priority", said.priority, "two numbers from 0 to 100, the lower first, like 67-100"))
    if _plain(said.price_model):
        given = [known for known in PRICE_MODELS if known == _plain(said.price_model)]
        if given:
            price = given[0]
        else:
            faults.append(_wrong("price-model", said.price_model, "spot or normal"))
    if _plain(said.weight):
        if _WEIGHT.fullmatch(_plain(said.weight)):
            weight = float(_plain(said.weight))
        else:
            faults.append(_wrong("weight", said.weight, "a number from 0 to 999999, like 2 or 0.5"))
    if _plain(said.drain) not in ("", "enable", "disable"):
        faults.append(_wrong("drain", said.drain, "enable or disable"))
    return priority, price, weight, _plain(said.drain) == "enable", faults


def _plain(value: str | None) -> str:
    return (value or "").strip().lower()


def _wrong(annotation: str, value: str | None, right: str) -> str:
    return f"Annotation {FAMILY}{annotation} is {_shown(value or '')}, and must be {right}."


def _shown(value: str) -> str:
    return repr(value if len(value) <= 80 else value[:80] + "…")
