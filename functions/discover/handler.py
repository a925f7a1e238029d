"""Discovers, every minute and when it is invoked, the workers in the clusters and the queues that they take from.

What it sees replaces what the registry held, so workers that are gone disappear. An unreachable cluster keeps its
workers for `fleet.KEPT_SECONDS`, and does not hold up the others.
"""

import random
import time
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from aws_lambda_powertools.metrics import Metrics, MetricUnit
from msgspec import structs

from elasticrecode.aws.clients import code, side_by_side
from elasticrecode.aws.sqs import Receiver
from elasticrecode.contract.metrics import CLUSTERS_UNREACHABLE, METRICS, WORKERS_DISCOVERED
from elasticrecode.contract.settings import DiscoverSettings
from elasticrecode.log import logger
from elasticrecode.runtime import compose
from elasticrecode.workers.eks import Cluster, Clusters
from elasticrecode.workers.fleet import ClusterView, RegisteredQueue, register_queues
from elasticrecode.workers.kubernetes import ClusterUnreachable
from elasticrecode.workers.registry import Registry

_LOOKUPS = 64
"""Queues looked up in SQS in one run."""
_LOGGED = 50
_ALL = "(all)"
"""Stands for the clusters while none could be listed yet."""


class Discovery:
    """One run reads all clusters, and writes their workers and queues to the registry."""

    def __init__(self, settings: DiscoverSettings) -> None:
        self._settings = settings
        self._registry = Registry(settings.registry_table, settings.queues, settings.first_generation)
        self._clusters, self._receiver = Clusters(settings.control_queue_name), Receiver()
        self._metrics = Metrics(namespace=METRICS, service="discover")
        self._configured = {name: url for members in settings.queues.values() for name, url in members.items()}

    def run(self, event: Any, context: Any) -> dict[str, Any]:
        """Discover workers. The answer, the log and the metrics have the same counts.

        Answers `clusters`, `workers`, and `unreachable`: label of a cluster → why it could not be read.
        """
        before = self._registry.read()
        views = self.views({view.name: view for view in before.clusters})
        for name in {view.name for view in before.clusters} - {view.name for view in views}:
            self._registry.remove_cluster(name)
        now = time.time()
        workers = [worker for view in views for worker in view.current_workers(now)]
        queues = self.with_urls(register_queues(workers, before.registered, now), now)
        self._registry.save_queues(queues)
        unreachable = {view.name: view.fault for view in views if view.fault}
        self._metrics.add_metric(CLUSTERS_UNREACHABLE, MetricUnit.Count, len(unreachable))
        self._metrics.add_metric(WORKERS_DISCOVERED, MetricUnit.Count, len(workers))
        self._metrics.flush_metrics()
        answer = {"clusters": len(views), "workers": len(workers), "unreachable": unreachable}
        logger.info("workers discovered", extra=answer)
        return answer

    def views(self, before: Mapping[str, ClusterView]) -> list[ClusterView]:
        """The current view of each cluster, stored. `before` are the stored ones, by label."""
        try:
            clusters = self._clusters.resolve(self._settings.clusters)
        except ClusterUnreachable as error:
            logger.exception("the clusters could not be listed")
            known = before or {_ALL: ClusterView(name=_ALL, seen=0.0)}
            views = [structs.replace(view, fault=str(error)) for view in known.values()]
            for view in views:
                self._registry.save_cluster(view)
            return views
        return side_by_side(lambda cluster: self._stored_view(cluster, before), clusters)

    def _stored_view(self, cluster: Cluster, before: Mapping[str, ClusterView]) -> ClusterView:
        view = self.view(cluster, before)
        self._registry.save_cluster(view)  # at once, as other clusters may take long
        return view

    def view(self, cluster: Cluster, before: Mapping[str, ClusterView]) -> ClusterView:
        """The workers of a cluster now; for an unreachable one the earlier view, with the reason."""
        try:
            deployments = self._clusters.workers(cluster)
        except ClusterUnreachable as error:
            logger.exception("a cluster could not be reached", extra={"cluster": cluster.label})
            known = before.get(cluster.label) or ClusterView(name=cluster.label, seen=0.0)
            return structs.replace(known, fault=str(error))
        for each in [each for each in deployments if each.faults][:_LOGGED]:
            where = {"cluster": each.cluster, "deployment": f"{each.namespace}/{each.name}", "used": bool(each.worker)}
            logger.warning("a Deployment of workers has faults", extra={**where, "faults": each.faults})
        workers = [each.worker for each in deployments if each.worker]
        return ClusterView(name=cluster.label, seen=time.time(), workers=workers)

    def with_urls(self, queues: Mapping[str, RegisteredQueue], now: float) -> dict[str, RegisteredQueue]:
        """Queues with their URLs: up to 64 of those that workers take from `now` are looked up in SQS.

        A queue that the deployment does not allow, or that SQS does not have, gets a fault in place of a URL.
        """
        result = dict(queues)
        for name, queue in queues.items():
            refusal = "" if name in self._configured else self.refusal(name)
            if refusal:
                result[name] = structs.replace(queue, url="", fault=refusal)
        unknown = [
            name for name, queue in result.items() if queue.seen == now and not queue.url and not self.refusal(name)
        ]
        random.shuffle(unknown)  # so that each of many missing queues has its turn
        unknown = sorted(unknown, key=lambda name: bool(result[name].fault))[:_LOOKUPS]
        for name, (url, fault) in zip(unknown, side_by_side(self.look_up, unknown), strict=True):
            result[name] = structs.replace(result[name], url=url, fault=fault)
        return result

    def refusal(self, queue: str) -> str:
        """Why workers must not bring a queue along; empty where they may."""
        if queue in self._settings.reserved:
            return "this deployment uses it for something other than jobs"
        if not any(fnmatchcase(queue, pattern) for pattern in self._settings.allowed):
            return f"option discoveredQueues ({', '.join(self._settings.allowed)}) does not allow it"
        return ""

    def look_up(self, queue: str) -> tuple[str, str]:
        """A queue's URL and an empty fault, or an empty URL and why there is none."""
        if queue in self._configured:
            return self._configured[queue], ""
        try:
            url = self._receiver.url(queue)
        except Exception as error:  # noqa: BLE001
            logger.exception("a queue could not be looked up", extra={"queue": queue})
            return "", f"it could not be looked up ({code(error)})"
        return url, "" if url else "there is no such queue"


def build(settings: DiscoverSettings) -> Callable[[Any, Any], dict[str, Any]]:
    """The Lambda handler."""
    return Discovery(settings).run


handler = compose(build, DiscoverSettings)
