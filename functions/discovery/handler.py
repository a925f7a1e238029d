"""Every minute, and when it is invoked: which workers run in the clusters, and where their queues are.

What was seen takes the place of what was known, so what is gone is forgotten. A cluster that can't be looked at keeps
its workers for a while (`fleet.KEPT_SECONDS`) and stops no other.
"""

import random
import time
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from aws_lambda_powertools.metrics import Metrics, MetricUnit
from msgspec import structs

from elasticrecode.aws.clients import code, side_by_side
from elasticrecode.aws.sqs import Receiver
from elasticrecode.contract.metrics import CLUSTERS_UNREACHABLE, METRICS, WORKERS_DISCOVERED
from elasticrecode.contract.settings import DiscoverySettings
from elasticrecode.log import logger
from elasticrecode.runtime import compose
from elasticrecode.workers.eks import Cluster, Clusters, ClusterUnreachable
from elasticrecode.workers.fleet import ClusterView, Registered, Worker
from elasticrecode.workers.registry import Registry

_REMEMBERED_SECONDS = 14 * 86_400
"""How long a queue is looked after whose workers are gone: as long as it may hold messages."""
_LOOKUPS = 64
"""Queues looked up in one run."""
_LOGGED = 50
_ALL = "(all)"
"""What stands for the clusters while nobody knows which there are."""


def build(settings: DiscoverySettings) -> Callable[[Any, Any], dict[str, Any]]:
    """The handler; it answers with what it found, and counts the same as metrics."""
    registry = Registry(settings.registry_table, settings.queues)
    clusters, receiver = Clusters(settings.control_queue), Receiver()
    metrics = Metrics(namespace=METRICS, service="discovery")
    by_hand = {name: url for members in settings.queues.values() for name, url in members.items()}

    def discover(event: Any, context: Any) -> dict[str, Any]:
        known = registry.read()
        before = {view.name: view for view in known.clusters}
        views = _views(before)
        for name in before.keys() - {view.name for view in views}:
            registry.forget_cluster(name)
        now = time.time()
        workers = [worker for view in views for worker in view.kept_workers(now)]
        registry.save_registered(_registered(workers, known.registered, now))
        unreachable = {view.name: view.fault for view in views if view.fault}
        metrics.add_metric(CLUSTERS_UNREACHABLE, MetricUnit.Count, len(unreachable))
        metrics.add_metric(WORKERS_DISCOVERED, MetricUnit.Count, len(workers))
        metrics.flush_metrics()
        found = {"clusters": len(views), "workers": len(workers), "unreachable": unreachable}
        logger.info("discovered", extra=found)
        return found

    def _views(before: Mapping[str, ClusterView]) -> list[ClusterView]:
        """What is known of each cluster from now on."""
        try:
            return side_by_side(lambda cluster: _seen(cluster, before), clusters.find(settings.clusters))
        except ClusterUnreachable as error:
            logger.exception("which clusters there are could not be found out")
            known = before or {_ALL: ClusterView(name=_ALL, seen=0.0)}
            views = [structs.replace(view, fault=str(error)) for view in known.values()]
            for view in views:
                registry.save_cluster(view)
            return views

    def _seen(cluster: Cluster, before: Mapping[str, ClusterView]) -> ClusterView:
        """What is known of a cluster from now on, stored at once: others may take long."""
        view = _view(cluster, before)
        registry.save_cluster(view)
        return view

    def _view(cluster: Cluster, before: Mapping[str, ClusterView]) -> ClusterView:
        try:
            found = clusters.look(cluster)
        except ClusterUnreachable as error:
            logger.exception("a cluster could not be looked at", extra={"cluster": cluster.label})
            known = before.get(cluster.label) or ClusterView(name=cluster.label, seen=0.0)
            return structs.replace(known, fault=str(error))
        for one in [one for one in found if one.faults][:_LOGGED]:
            where = {"cluster": one.cluster, "deployment": f"{one.namespace}/{one.name}", "used": bool(one.worker)}
            logger.warning("a Deployment says it is a worker, but", extra={**where, "faults": one.faults})
        return ClusterView(name=cluster.label, seen=time.time(), workers=[one.worker for one in found if one.worker])

    def _registered(workers: Iterable[Worker], before: Mapping[str, Registered], now: float) -> dict[str, Registered]:
        """The queues of workers, and for a while those of workers that are gone."""
        kept = {name: one for name, one in before.items() if one.url and one.seen > now - _REMEMBERED_SECONDS}
        unseen = {name: one for name, one in before.items() if not one.url}
        for worker in workers:
            if not worker.group:
                continue
            one = kept.get(worker.queue) or unseen.get(worker.queue) or Registered(groups=(), seen=now, served=now)
            groups = one.groups if one.seen == now else ()
            kept[worker.queue] = structs.replace(
                one,
                groups=tuple(sorted({*groups, worker.group})),
                seen=now,
                served=now if worker.ready else one.served,
            )
        for name, one in kept.items():
            refused = "" if name in by_hand else _refused(name)
            if refused:
                kept[name] = structs.replace(one, url="", fault=refused)
        unknown = [name for name, one in kept.items() if one.seen == now and not one.url and not _refused(name)]
        random.shuffle(unknown)  # of many that can't be found, none is always first
        unknown = sorted(unknown, key=lambda name: bool(kept[name].fault))[:_LOOKUPS]
        for name, (url, fault) in zip(unknown, side_by_side(_find, unknown), strict=True):
            kept[name] = structs.replace(kept[name], url=url, fault=fault)
        return kept

    def _refused(queue: str) -> str:
        """Why a queue that workers bring along must not be used."""
        if queue in settings.reserved:
            return "it is a queue of this deployment for something else"
        if not any(fnmatchcase(queue, pattern) for pattern in settings.allowed):
            return f"option discoveredQueues ({', '.join(settings.allowed)}) does not allow it"
        return ""

    def _find(queue: str) -> tuple[str, str]:
        """A queue's URL, or why there is none."""
        if queue in by_hand:
            return by_hand[queue], ""
        try:
            url = receiver.url(queue)
        except Exception as error:  # noqa: BLE001
            logger.exception("a queue could not be looked up", extra={"queue": queue})
            return "", f"it could not be looked up ({code(error)})"
        return url, "" if url else "there is no such queue"

    return discover


handler = compose(build, DiscoverySettings)
