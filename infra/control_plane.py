"""The stack: the whole data path and every grant.

             S3 ─▶ collect ────┐
client ─▶ submit, vmaf ─▶ jobs table ─stream─▶ dispatch ─▶ worker queues ─▶ workers
              ▲               ▲    └───stream─▶ append ─▶ feed ─stream─▶ push ─▶ WebSocket connections
              │               │                               └───▶ replay ────────▲         ▲
              │               │                                   connections table ◀─ sockets
              │               └─ consume ◀─ control queue ◀─────────────────────── workers
          registry ◀─ discover ◀─ EKS clusters

Batches come into the jobs table by `infra/batches.py`, events leave for users' addresses by `infra/webhooks.py`.
"""

from aws_cdk import Aws, CfnOutput, Duration, Stack, aws_events
from aws_cdk import aws_events_targets as targets
from constructs import Construct

from elasticrecode.contract import settings, tables
from elasticrecode.contract.routes import ROUTES
from elasticrecode.jobs.streams import DISPATCH, FEED
from elasticrecode.watch.streams import CHUNKS, REPLAY
from infra import kept, version
from infra.alarms import Alarms
from infra.auth import Auth
from infra.batches import Batches
from infra.clusters import Clusters
from infra.drops import Drops
from infra.front_door import FrontDoor
from infra.functions import Functions
from infra.job_role import JobRole, user_prefixes
from infra.openapi.asset import schema_function
from infra.options import Options, listed
from infra.rest_api import RestApi
from infra.socket_api import SocketApi
from infra.sources import follow, take_from
from infra.storage import Storage
from infra.webhooks import Webhooks
from infra.workers import worker_policy

_WITHOUT_LOGS_SECONDS = 3600
"""How long an event is kept when job logs are off: long enough to be pushed."""


class ControlPlane(Stack):
    """Everything, in one stack."""

    def __init__(self, scope: Construct, options: Options) -> None:
        super().__init__(scope, options.stackName)
        storage = Storage(self, "Storage", options)
        functions = Functions(self, "Functions", options)
        make = functions.make
        jobs, connections = storage.jobs.table_name, storage.connections.table_name
        registry = storage.registry.table_name
        queues = {
            group: {name: queue.queue_url for name, queue in members.items()}
            for group, members in storage.queues.items()
        }

        commit, build = version.current()
        submitting = settings.SubmitSettings(
            **options.api,
            rate=storage.rate,
            jobs_table=jobs,
            registry_table=registry,
            queues=queues,
            presets=options.presets,
            user_prefixes=user_prefixes(options, storage),
            retention_days=options.retentionDays,
            idempotency_days=options.idempotencyDays,
        )
        auth = Auth(self, "Auth", options, storage, functions)
        told = settings.SchemaSettings(**options.api, build=build, commit=commit, sign_in=auth.sign_in)
        schema = make("schema", told, memory_mib=512, folder=schema_function(options.auth))
        submit = make("submit", submitting)
        vmaf = make("vmaf", submitting)
        logs = make("logs", settings.LogsSettings(**options.api, jobs_table=jobs, job_logs=options.jobLogs))
        workers = make(
            "workers",
            settings.WorkersSettings(
                **options.api, registry_table=registry, queues=queues, discovery=options.discovery
            ),
        )
        presets = make(
            "presets",
            settings.PresetsSettings(**options.api, registry_table=registry, presets=options.presets),
        )
        manage = make(
            "jobs",
            settings.JobsSettings(
                **options.api,
                rate=storage.rate,
                jobs_table=jobs,
                batches_table=storage.batches.table_name,
                registry_table=registry,
                queues=queues,
                retention_days=options.retentionDays,
            ),
        )
        keyed = ("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:BatchGetItem")
        storage.jobs.grant(submit, "dynamodb:BatchWriteItem", *keyed)
        storage.jobs.grant(vmaf, *keyed)
        storage.jobs.grant(manage, "dynamodb:BatchGetItem", "dynamodb:UpdateItem", "dynamodb:PutItem")
        storage.jobs.grant(logs, "dynamodb:Query", "dynamodb:BatchGetItem")
        for listing in (manage, logs):
            storage.jobs.let_query(listing, tables.USER_INDEX)
        for routing in (submit, vmaf, manage):
            storage.registry.grant(routing, "dynamodb:Query")
        for writing in (workers, presets):
            storage.registry.grant(writing, "dynamodb:Query", "dynamodb:PutItem", "dynamodb:DeleteItem")
        storage.grant_worker_queues(workers, "sqs:GetQueueAttributes")
        storage.batches.grant(manage, "dynamodb:GetItem", "dynamodb:Query")
        keep = options.retentionDays * 86400 if options.jobLogs else _WITHOUT_LOGS_SECONDS
        batches = Batches(
            self, "Batches", options, storage, functions, submitting=submitting, event_retention_seconds=keep
        )
        webhooks = Webhooks(self, "Webhooks", options, storage, functions)
        served = {"schema": schema, "submit": submit, "vmaf": vmaf, "logs": logs, "jobs": manage, "workers": workers}
        served |= {"batch": batches.function, "presets": presets, "webhooks": webhooks.function}
        served["tickets"] = make(
            "tickets", settings.TicketsSettings(**options.api, rate=storage.rate, connections_table=connections)
        )
        storage.connections.grant(served["tickets"], "dynamodb:PutItem")
        storage.let_count(submit, vmaf, batches.function, manage, webhooks.function, served["tickets"])
        by_function = {served[name]: routes for name, routes in ROUTES.items()}
        rest = RestApi(self, "Api", options, by_function, auth.methods)

        dispatching = settings.DispatchSettings(
            jobs_table=jobs, registry_table=registry, queues=queues, tally_queue=batches.tallies.queue_url
        )
        dispatch = make("dispatch", dispatching, seconds=60)
        storage.jobs.grant(dispatch, "dynamodb:UpdateItem")
        storage.registry.grant(dispatch, "dynamodb:Query", "dynamodb:PutItem")
        storage.grant_worker_queues(dispatch, "sqs:SendMessage", "sqs:GetQueueAttributes")
        batches.tallies.grant(dispatch, "sqs:SendMessage")
        follow(dispatch, storage.jobs, DISPATCH)

        consume = make(
            "consume",
            settings.ConsumeSettings(
                jobs_table=jobs,
                events_dead_letter_queue=storage.event_dead_letters.queue_url,
                event_retention_seconds=keep,
                max_strikes=options.maxAttempts,
            ),
            seconds=storage.events_timeout_seconds,
        )
        storage.jobs.grant(consume, "dynamodb:BatchWriteItem", "dynamodb:UpdateItem")
        storage.event_dead_letters.grant(consume, "sqs:SendMessage")
        take_from(consume, storage.control, batch_size=100, window=Duration.seconds(1))

        reconcile = make(
            "reconcile",
            settings.ReconcileSettings(
                jobs_table=jobs,
                registry_table=registry,
                queues=queues,
                control_queue=storage.control.queue_url,
                dead_letter_queue=storage.dead_letters.queue_url,
                events_dead_letter_queue=storage.event_dead_letters.queue_url,
                event_retention_seconds=keep,
            ),
            seconds=50,
        )
        storage.jobs.grant(reconcile, "dynamodb:BatchGetItem", "dynamodb:UpdateItem", "dynamodb:PutItem")
        storage.jobs.let_query(reconcile, tables.DUE_INDEX)
        storage.registry.grant(reconcile, "dynamodb:Query", "dynamodb:PutItem")
        storage.grant_worker_queues(
            reconcile,
            "sqs:GetQueueAttributes",
            "sqs:ReceiveMessage",
            "sqs:DeleteMessage",
            "sqs:ChangeMessageVisibility",
        )
        for letters in (storage.dead_letters, storage.event_dead_letters):
            letters.grant(reconcile, "sqs:ReceiveMessage", "sqs:DeleteMessage")
        storage.control.grant(reconcile, "sqs:SendMessage")
        each_minute = aws_events.Rule(
            self,
            "EveryMinute",
            schedule=aws_events.Schedule.rate(Duration.minutes(1)),
            targets=[targets.LambdaFunction(reconcile, retry_attempts=0)],
        )

        discover = None
        if options.discovery:
            discover = make(
                "discover",
                settings.DiscoverSettings(
                    registry_table=registry,
                    queues=queues,
                    control_queue=options.controlQueue,
                    clusters=listed(options.clusters),
                    allowed=listed(options.discoveredQueues),
                    reserved=[
                        queue.queue_name
                        for queue in (storage.control, storage.dead_letters, storage.event_dead_letters)
                    ],
                ),
                seconds=50,
            )
            storage.registry.grant(discover, "dynamodb:Query", "dynamodb:PutItem", "dynamodb:DeleteItem")
            storage.grant_worker_queues(discover, "sqs:GetQueueUrl")
            Clusters(self, "Clusters", options).let_look(discover)
            each_minute.add_target(targets.LambdaFunction(discover, retry_attempts=0))

        socket_api = SocketApi(self, "SocketApi", options, rest.api)
        rest_url = _address(options.executeApi, rest.api.rest_api_id, "api")
        management_url = _address(options.executeApi, socket_api.api.api_id, "ws")
        socket_url = "ws" + management_url.removeprefix("http")
        sockets = make(
            "sockets",
            settings.SocketsSettings(
                auth=options.asked,
                rate=storage.rate,
                connections_table=connections,
                socket_management_url=management_url,
            ),
        )
        storage.connections.grant(sockets, "dynamodb:PutItem", "dynamodb:DeleteItem")
        storage.connections.let_query(sockets, tables.CONNECTION_INDEX)
        sockets.add_to_role_policy(socket_api.may_post())
        storage.let_count(sockets)
        socket_api.serve(sockets, auth.socket)
        if options.auth in ("cognito", "jwt"):
            disconnect = make(
                "disconnect",
                settings.DisconnectSettings(connections_table=connections, socket_management_url=management_url),
                seconds=50,
            )
            storage.connections.grant(disconnect, "dynamodb:DeleteItem")
            storage.connections.let_query(disconnect, tables.ENDING_INDEX)
            disconnect.add_to_role_policy(socket_api.may_end())
            each_minute.add_target(targets.LambdaFunction(disconnect, retry_attempts=0))

        append = make(
            "append", settings.AppendSettings(feed_table=storage.feed.table_name, event_retention_seconds=keep)
        )
        storage.feed.grant(append, "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem")
        follow(append, storage.jobs, FEED)
        watching = settings.WatchersSettings(
            jobs_table=jobs,
            feed_table=storage.feed.table_name,
            connections_table=connections,
            socket_management_url=management_url,
        )
        push, replay = make("push", watching, seconds=60), make("replay", watching, seconds=60)
        for watched in (push, replay):
            storage.jobs.grant(watched, "dynamodb:BatchGetItem")
            watched.add_to_role_policy(socket_api.may_post())
        storage.feed.grant(push, "dynamodb:Query")
        storage.connections.grant(
            push, "dynamodb:BatchGetItem", "dynamodb:Query", "dynamodb:UpdateItem", "dynamodb:DeleteItem"
        )
        storage.feed.grant(replay, "dynamodb:GetItem", "dynamodb:Query")
        storage.connections.grant(replay, "dynamodb:GetItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem")
        replay.add_to_role_policy(socket_api.may_end())
        publish = make(
            "publish", settings.PublishSettings(jobs_table=jobs, event_bus=webhooks.bus.event_bus_name), seconds=60
        )
        storage.jobs.grant(publish, "dynamodb:BatchGetItem")
        webhooks.let_tell(publish)
        follow(publish, storage.feed, CHUNKS)
        follow(push, storage.feed, CHUNKS)
        follow(replay, storage.connections, REPLAY, at_once=10)

        drops = Drops(self, "Drops", options, storage, functions) if options.drops else None

        job_role = JobRole(self, "JobAccess", options, storage).role
        workers_policy = worker_policy(storage, job_role)

        alarms = Alarms(self, "Alarms", options.alarmTopic)
        alarms.when_given_up(reconcile)
        if discover:
            alarms.when_blind()
        if drops:
            alarms.when_left_out()
        alarms.when_late(
            {
                "Control": storage.control,
                "DeadLetters": storage.dead_letters,
                "EventDeadLetters": storage.event_dead_letters,
                "WebhookEvents": webhooks.events,
                "Surveys": batches.surveys,
                "Pages": batches.pages,
                "Tallies": batches.tallies,
                **(drops.queues if drops else {}),
            },
            {"Dispatch": dispatch, "Append": append, "Push": push, "Replay": replay, "Publish": publish},
        )

        if options.frontDoor == "cloudfront":
            front = FrontDoor(
                self,
                "FrontDoor",
                options,
                rest_url=rest_url,
                socket_url=socket_url,
                sign_in_url=auth.sign_in.url if auth.sign_in else "",
                access_logs=storage.access_logs,
            )
            CfnOutput(self, "Url", value=front.url)
        outputs = {
            "RestUrl": rest_url,
            "SocketUrl": socket_url,
            "SocketManagementUrl": management_url,
            "MediaBucket": storage.media.bucket_name,
            "JobsTable": jobs,
            "BatchesTable": storage.batches.table_name,
            "ConnectionsTable": connections,
            "RegistryTable": registry,
            "WorkerPolicy": workers_policy.managed_policy_arn,
            "EventBus": webhooks.bus.event_bus_name,
            "ControlQueue": storage.control.queue_url,
            "DeadLetterQueue": storage.dead_letters.queue_url,
            "EventDeadLetterQueue": storage.event_dead_letters.queue_url,
            "JobRole": job_role.role_arn,
            **auth.outputs,
        } | {f"{group.capitalize()}Queue": next(iter(urls.values())) for group, urls in queues.items() if urls}
        if discover:
            outputs["DiscoveryFunction"] = discover.function_name
        for name, value in outputs.items():
            CfnOutput(self, name, value=value)
        kept.bound_helpers(self)


def _address(template: str, api_id: str, stage: str) -> str:
    """The URL of an API's stage."""
    return template.replace("{apiId}", api_id).replace("{region}", Aws.REGION) + f"/{stage}"
