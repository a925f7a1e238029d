"""Recognises the Kubernetes Deployments that are workers of this control plane, by annotations and environment."""

import re
from typing import Any, NamedTuple, cast, get_args

import msgspec
from msgspec import DecodeError, Raw, Struct, field

from elasticrecode.media.codecs import PLATFORMS
from elasticrecode.media.generations import Generation
from elasticrecode.media.profiles import PRICE_MODELS, PriceModel
from elasticrecode.workers.fleet import ALL_PRIORITIES, Worker, WorkerType

ANNOTATION_PREFIX = "elastirecord.kubernetes.io/"
"""Prefix of the annotations. The first generation's contract spells it `elastirecord`."""

_QUEUE = re.compile(r"[\w-]{1,80}", re.ASCII)
_PRIORITY = re.compile(r"(\d{1,3}) ?- ?(\d{1,3})", re.ASCII)
_WEIGHT = re.compile(r"\d{1,6}(\.\d{1,6})?", re.ASCII)
_MAX_REPLICAS = 1_000_000
_UNREADABLE = (DecodeError, UnicodeDecodeError)
_TYPES: tuple[WorkerType, ...] = get_args(WorkerType)


class Annotations(Struct, rename=lambda name: ANNOTATION_PREFIX + name.replace("_", "-")):
    """The annotations of this product; None where one is absent."""

    worker: str | None = None
    platform: str | None = None
    priority: str | None = None
    price_model: str | None = None
    weight: str | None = None
    drain: str | None = None
    generation: str | None = None


class Metadata(Struct):
    """Name, namespace and annotations of a Deployment."""

    namespace: str | None = None
    name: str | None = None
    annotations: Annotations | None = None


class Source(Struct):
    """A reference that a variable's value comes from, such as a Secret. Discovery can't read any of them."""


class Variable(Struct):
    """An environment variable of a container."""

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
    """The pod template."""

    spec: PodSpec | None = None


class Spec(Struct):
    """The desired state."""

    replicas: int | None = None
    template: Template | None = None


class Status(Struct):
    """The observed state."""

    readyReplicas: int | None = None


class Deployment(Struct):
    """The parts of a Deployment that discovery reads. Kubernetes omits empty fields, or writes null."""

    metadata: Metadata | None = None
    spec: Spec | None = None
    status: Status | None = None


class UnreadableDeployment(NamedTuple):
    """A Deployment with the annotation `worker: enable` whose JSON does not fit `Deployment`; `reason` says why."""

    namespace: str
    name: str
    reason: str


class Page(NamedTuple):
    """A page of a list of Deployments. `continue_token` requests the next page, and is empty on the last."""

    deployments: list[Deployment | UnreadableDeployment]
    continue_token: str


class WorkerDeployment(Struct, frozen=True):
    """A Deployment that declares itself a worker of this control plane.

    `worker` is None where it can't be used. `faults` are sentences about what is wrong; a usable worker may have some.
    """

    cluster: str
    namespace: str
    name: str
    worker: Worker | None
    faults: list[str]


class _ListMetadata(Struct):
    continue_token: str | None = field(name="continue", default=None)


class _List(Struct):
    # `items` has no default: JSON without it is not an empty list but something else.
    items: list[Deployment] | None
    metadata: _ListMetadata | None = None


class _RawList(Struct):
    items: list[Raw] | None
    metadata: _ListMetadata | None = None


_list = msgspec.json.Decoder(_List)
_raw_list = msgspec.json.Decoder(_RawList)
_deployment = msgspec.json.Decoder(Deployment)


def read_page(body: bytes) -> Page:
    """The Deployments in an answer of the Kubernetes API. Raises msgspec.DecodeError when it is not a list.

    Deployments that can't be read are left out, except those annotated as workers.
    """
    page: _List | _RawList
    try:
        try:
            page = _list.decode(body)
            deployments: list[Deployment | UnreadableDeployment] = [*(page.items or ())]
        except _UNREADABLE:
            page = _raw_list.decode(body)
            deployments = [item for raw in page.items or () if (item := _read_one(raw))]
    except (UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(str(error)) from None
    return Page(deployments, (page.metadata and page.metadata.continue_token) or "")


def _read_one(raw: Raw) -> Deployment | UnreadableDeployment | None:
    """One item of a list; None where it can't be read and is not annotated as a worker."""
    try:
        return _deployment.decode(raw)
    except _UNREADABLE as error:
        reason = str(error)
    try:
        metadata = _member(msgspec.json.decode(raw), "metadata")
    except _UNREADABLE:
        return None
    enabled = _member(_member(metadata, "annotations"), ANNOTATION_PREFIX + "worker")
    if not isinstance(enabled, str) or _normalised(enabled) != "enable":
        return None
    namespace, name = (str(_member(metadata, key) or "") for key in ("namespace", "name"))
    return UnreadableDeployment(namespace[:253], name[:253], reason)


def _member(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def read_worker(
    deployment: Deployment | UnreadableDeployment, cluster: str, control_queue: str
) -> WorkerDeployment | None:
    """The worker that a Deployment describes. None where it is not one, or belongs to another control queue.

    A worker with a fault in its queue, type or platform can't be used. Other annotations with a fault count as absent.
    """
    if isinstance(deployment, UnreadableDeployment):
        reason = f"It can't be read: {deployment.reason}."
        return WorkerDeployment(cluster, deployment.namespace, deployment.name, None, [reason])
    metadata = deployment.metadata or Metadata()
    annotations = metadata.annotations
    if annotations is None or _normalised(annotations.worker) != "enable":
        return None
    spec = deployment.spec or Spec()
    environment = _Environment(spec)
    namespace, name = metadata.namespace or "", metadata.name or ""
    unknown = environment.why_unknown("CONTROL_PLANE")
    if unknown:
        reason = f"{unknown}, so its control plane is unknown. Give CONTROL_PLANE its value in `env`."
        return WorkerDeployment(cluster, namespace, name, None, [reason])
    if environment.value("CONTROL_PLANE") != control_queue:
        return None

    queue, kind, fatal = _required_variables(environment, control_queue)
    platform = _normalised(annotations.platform) or "cpu"
    if platform not in PLATFORMS:
        fatal.append(_annotation_fault("platform", annotations.platform, "cpu or gpu"))
    if not name:
        fatal.append("It has no name.")
    preferences = _preferences(annotations)
    if fatal:
        return WorkerDeployment(cluster, namespace, name, None, fatal + preferences.faults)
    ready = deployment.status.readyReplicas if deployment.status else None
    worker = Worker(
        cluster=cluster,
        namespace=namespace,
        name=name,
        queue=queue,
        kind=cast(WorkerType, kind),
        platform="gpu" if platform == "gpu" else "cpu",
        ready=min(max(0, ready or 0), _MAX_REPLICAS),
        desired=min(max(0, 1 if spec.replicas is None else spec.replicas), _MAX_REPLICAS),
        price=preferences.price,
        priority=preferences.priority,
        weight=preferences.weight,
        draining=preferences.draining,
        generation=preferences.generation,
    )
    return WorkerDeployment(cluster, namespace, name, worker, preferences.faults)


class _Environment:
    """The environment of a Deployment's first container."""

    def __init__(self, spec: Spec) -> None:
        template = (spec.template and spec.template.spec) or PodSpec()
        first = template.containers[0] if template.containers else Container()
        # Of two variables with one name, the last counts.
        self._variables = {variable.name: variable for variable in first.env or ()}
        self._from_elsewhere = bool(first.envFrom)

    def why_unknown(self, name: str) -> str:
        """Why a variable's value is only known while the container runs; empty where the Deployment has the value."""
        variable = self._variables.get(name)
        if variable is None:
            return f"{name} is not in `env` and may come from `envFrom`" if self._from_elsewhere else ""
        if variable.valueFrom is not None:
            return f"{name} comes from `valueFrom`"
        return f"{name} refers to other variables" if "$(" in (variable.value or "") else ""

    def value(self, name: str) -> str:
        """A variable's value; empty where it has none."""
        variable = self._variables.get(name)
        return (variable.value if variable else None) or ""


def _required_variables(environment: _Environment, control_queue: str) -> tuple[str, str, list[str]]:
    """Queue name, worker type, and a sentence for each fault in them."""
    faults = []
    for name in ("QUEUE_NAME", "WORKER_TYPE"):
        unknown = environment.why_unknown(name)
        if unknown:
            faults.append(f"{unknown}, which discovery can't read. Give it its value in `env`.")
        elif not environment.value(name):
            faults.append(f"{name} is not set in its first container.")
    queue, kind = environment.value("QUEUE_NAME"), environment.value("WORKER_TYPE").lower()
    if queue and not environment.why_unknown("QUEUE_NAME"):
        if not _QUEUE.fullmatch(queue):
            faults.append(f"QUEUE_NAME is {_quoted(queue)}, which can't be the name of an SQS queue.")
        elif queue == control_queue:
            faults.append("QUEUE_NAME and CONTROL_PLANE are the same queue.")
    if kind and not environment.why_unknown("WORKER_TYPE") and kind not in _TYPES:
        faults.append(f"WORKER_TYPE is {_quoted(kind)}, and must be one of {', '.join(_TYPES)}.")
    return queue, kind, faults


class _Preferences(NamedTuple):
    """The optional annotations, each with its default where it is absent or has a fault."""

    priority: tuple[int, int]
    price: PriceModel
    weight: float
    draining: bool
    generation: Generation
    faults: list[str]


def _preferences(annotations: Annotations) -> _Preferences:
    faults = []
    priority, price, weight = ALL_PRIORITIES, PRICE_MODELS[0], 1.0
    if text := _normalised(annotations.priority):
        bounds = _PRIORITY.fullmatch(text)
        low, high = (int(bounds[1]), int(bounds[2])) if bounds else (1, 0)
        if low <= high <= 100:
            priority = (low, high)
        else:
            right = "two numbers from 0 to 100, the lower first, like 67-100"
            faults.append(_annotation_fault("priority", annotations.priority, right))
    if text := _normalised(annotations.price_model):
        prices = [known for known in PRICE_MODELS if known == text]
        if prices:
            price = prices[0]
        else:
            faults.append(_annotation_fault("price-model", annotations.price_model, "spot or normal"))
    if text := _normalised(annotations.weight):
        if _WEIGHT.fullmatch(text):
            weight = float(text)
        else:
            right = "a number from 0 to 999999, like 2 or 0.5"
            faults.append(_annotation_fault("weight", annotations.weight, right))
    drain = _normalised(annotations.drain)
    if drain not in ("", "enable", "disable"):
        faults.append(_annotation_fault("drain", annotations.drain, "enable or disable"))
    generation = _normalised(annotations.generation)
    if generation not in ("", "1", "2"):
        faults.append(_annotation_fault("generation", annotations.generation, "1 or 2"))
    return _Preferences(priority, price, weight, drain == "enable", 2 if generation == "2" else 1, faults)


def _normalised(value: str | None) -> str:
    return (value or "").strip().lower()


def _annotation_fault(annotation: str, value: str | None, right: str) -> str:
    return f"Annotation {ANNOTATION_PREFIX}{annotation} is {_quoted(value or '')}, and must be {right}."


def _quoted(value: str) -> str:
    return repr(value if len(value) <= 80 else value[:80] + "…")
