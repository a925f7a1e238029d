"""The stack: resources first, then the settings of all functions from their names, then the functions.

             S3 ─▶ collect ────┐
client ─▶ submit, vmaf ─▶ jobs table ─stream─▶ dispatch ─▶ worker queues ─▶ workers
              ▲               ▲    └───stream─▶ append ─▶ feed ─stream─▶ push ─▶ WebSocket connections
              │               │                            └────stream─▶ publish ─▶ webhooks
              │               └─ consume ◀─ control queue ◀─────────────────────── workers
          registry ◀─ discover ◀─ EKS clusters

Each package has a file of its name here, with its functions and every grant.
"""

from aws_cdk import CfnOutput, Stack
from constructs import Construct

from elasticrecode.contract.wiring import Wiring
from infra import kept, version
from infra.access import Access
from infra.alarms import Alarms
from infra.api import RestApi
from infra.batches import EXPAND_SECONDS, Batches
from infra.drops import Drops
from infra.files import Files
from infra.front_door import FrontDoor
from infra.functions import Functions
from infra.job_role import JobRole
from infra.jobs import Jobs
from infra.options import Options
from infra.serving import MediaServing
from infra.socket_api import SocketApi
from infra.storage import Storage
from infra.watch import Watch
from infra.webhooks import Webhooks
from infra.workers import Workers, worker_policy

_STORING = {"submit", "vmaf", "expand", "collect"}
"""Functions that store jobs. They change after `dispatch`: counts would lack a job whose acceptance no version reports
while they change, and not its later moves."""


class ControlPlane(Stack):
    """Everything, in one stack."""

    def __init__(self, scope: Construct, options: Options) -> None:
        super().__init__(scope, options.stackName)
        self._options = options
        self._storage = storage = Storage(self, "Storage", options)
        self._access = access = Access(self, "Auth", options)
        self._batches = batches = Batches(self, "Batches", options)
        self._webhooks = webhooks = Webhooks(self, "Webhooks", options)
        self._sockets = sockets = SocketApi(self, "SocketApi", options)

        functions = Functions(self, "Functions", options, self._wiring())
        jobs = Jobs(functions, storage, batches.tallies)
        workers = Workers(self, options, functions, storage)
        files = Files(options, functions, storage)
        served = {**jobs.served, **files.served, **workers.served, **batches.serve(functions, storage)}
        served |= {**webhooks.serve(functions, storage), **access.serve(functions, storage)}
        rest = RestApi(self, "Api", options, functions, served, access.methods)
        watch = Watch(functions, storage, sockets)
        watch.serve(options.auth, access.socket)
        sockets.log_after(rest.api)
        drops = Drops(self, "Drops", options, storage, functions) if options.drops else None
        for name in _STORING & functions.named.keys():
            functions.named[name].node.add_dependency(jobs.dispatch)
        job_role = JobRole(self, "JobAccess", options, storage).role

        alarms = Alarms(self, "Alarms", options.alarmTopic)
        alarms.when_given_up(jobs.reconcile)
        if workers.discover:
            alarms.when_blind()
        if drops:
            alarms.when_left_out()
        queues = {"Control": storage.control, "DeadLetters": storage.dead_letters}
        queues |= {"EventDeadLetters": storage.event_dead_letters, "WebhookDeadLetters": webhooks.dead_letters}
        queues |= {"Surveys": batches.surveys, "Pages": batches.pages, "Tallies": batches.tallies}
        followers = {"Dispatch": jobs.dispatch, "Publish": webhooks.publish}
        followers |= {"Append": watch.append, "Push": watch.push, "Replay": watch.replay}
        alarms.when_late(queues | (drops.queues if drops else {}), followers)

        outputs = {"RestUrl": rest.url, "SocketUrl": sockets.url, "SocketManagementUrl": sockets.management_url}
        if options.frontDoor == "cloudfront":
            outputs["Url"] = FrontDoor(
                self,
                "FrontDoor",
                options,
                rest_url=rest.url,
                socket_url=sockets.url,
                sign_in_url=access.sign_in.url if access.sign_in else "",
                media=files.origins,
                access_logs=storage.access_logs,
            ).url
        if options.serveMedia != "off":
            outputs |= MediaServing(self, "Serving", options, storage.media).outputs
        outputs |= {**storage.outputs, **access.outputs, "EventBus": webhooks.bus.event_bus_name}
        outputs["WorkerPolicy"] = worker_policy(storage, job_role).managed_policy_arn
        outputs["JobRole"] = job_role.role_arn
        if workers.discover:
            outputs["DiscoveryFunction"] = workers.discover.function_name
        for name, value in outputs.items():
            CfnOutput(self, name, value=value)
        kept.bound_helpers(self)
        kept.pace(self)

    def _wiring(self) -> Wiring:
        """What the functions are configured with: the names of the resources, and options."""
        storage, batches = self._storage, self._batches
        aside = (storage.control, storage.dead_letters, storage.event_dead_letters)
        commit, build = version.current()
        return Wiring(
            jobs_table=storage.jobs.table_name,
            batches_table=storage.batches.table_name,
            feed_table=storage.feed.table_name,
            connections_table=storage.connections.table_name,
            registry_table=storage.registry.table_name,
            webhooks_table=storage.webhooks.table_name,
            rate=storage.rate,
            queues=storage.queue_urls,
            control_queue=storage.control.queue_url,
            control_queue_name=self._options.controlQueue,
            dead_letter_queue=storage.dead_letters.queue_url,
            events_dead_letter_queue=storage.event_dead_letters.queue_url,
            reserved=[queue.queue_name for queue in aside],
            surveys_queue=batches.surveys.queue_url,
            pages_queue=batches.pages.queue_url,
            tally_queue=batches.tallies.queue_url,
            sealing_key=storage.sealing.key_arn,
            deliveries_queue=self._webhooks.deliveries.queue_url,
            event_bus=self._webhooks.bus.event_bus_name,
            socket_management_url=self._sockets.management_url,
            s3_url=self._options.s3Url.replace("{region}", self.region),
            build=build,
            commit=commit,
            time_limit=EXPAND_SECONDS,
            sign_in=self._access.sign_in,
            **self._access.tokens,
            **self._options.wiring(storage.media.bucket_name),
        )
