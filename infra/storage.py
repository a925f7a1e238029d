"""Tables, queues and the media bucket: everything that holds users' data."""

from fnmatch import fnmatchcase

from aws_cdk import ArnFormat, Duration, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from elasticrecode.access.prefixes import UPLOADS_FOLDER
from elasticrecode.contract.settings import Queues, Rate
from elasticrecode.contract.tables import (
    BATCHES_KEYS,
    CONNECTION_INDEX,
    CONNECTION_KEYS,
    CONNECTIONS_KEYS,
    DUE_INDEX,
    DUE_KEYS,
    ENDING_INDEX,
    ENDING_KEYS,
    FEED_KEYS,
    JOBS_KEYS,
    OWNER_INDEX,
    OWNER_KEYS,
    OWNER_PROJECTION,
    RATES_KEYS,
    REGISTRY_KEYS,
    STATE_INDEX,
    STATE_KEYS,
    STATE_PROJECTION,
    TTL,
    USER_INDEX,
    USER_KEYS,
    USER_PROJECTION,
    WEBHOOKS_KEYS,
)
from elasticrecode.files.uploads import UPLOAD_SECONDS
from infra import kept
from infra.options import Options, listed
from infra.serving import let_pages_reach

_EVENTS_TIMEOUT_SECONDS = 20
"""Time limit of `consume`. The control queue's visibility timeout is six times this."""
_MAX_RECEIVES = 50
"""Receives of a job's message, beyond the option maxAttempts, before it is a dead letter. Faults of AWS, after which a
job waits longer each time, faults of hosts and returns on a scale-down are no strikes, and this is their bound: an
outage of eleven hours ends no job. A job that kills its workers fails by maxAttempts."""
_PARTS_DAYS = 14
"""Days after which the result of a part expires. The workers remove it when its job has ended; this is for those that a
killed worker has left. No message waits longer than that."""
_MAX_EVENT_RECEIVES = 20


class Table(dynamodb.Table):
    """A table whose grants leave out its indexes."""

    def grant(self, grantee: iam.IGrantable, *actions: str) -> iam.Grant:
        """Allow actions on the table itself."""
        return iam.Grant.add_to_principal(grantee=grantee, actions=list(actions), resource_arns=[self.table_arn])

    def let_query(self, grantee: iam.IGrantable, index: str) -> None:
        """Allow queries of an index."""
        arn = f"{self.table_arn}/index/{index}"
        iam.Grant.add_to_principal(grantee=grantee, actions=["dynamodb:Query"], resource_arns=[arn])


class Storage(Construct):
    """`queues` maps a group of workers to its queues by name.

    `worker_queue_arns` are their ARNs, each once, and the patterns of the option `discoveredQueues`. `rate` is the
    table and the limit of users' requests.
    """

    def __init__(self, scope: Construct, id_: str, options: Options) -> None:
        super().__init__(scope, id_)
        self._outlives = kept.outlives(options)
        self._worker_receives = options.maxAttempts + _MAX_RECEIVES
        self._add_jobs(options.jobsTable)
        self._add_batches()
        self.feed = self._table(
            "Feed",
            FEED_KEYS,
            self._outlives,
            stream=dynamodb.StreamViewType.NEW_IMAGE,
            sort=dynamodb.AttributeType.NUMBER,
        )
        self._add_connections()
        self.registry = self._table("Registry", REGISTRY_KEYS, RemovalPolicy.DESTROY)
        self.webhooks = self._table("Webhooks", WEBHOOKS_KEYS, self._outlives)

        counting = options.auth != "none" and options.requestsPerMinute > 0
        self._rates = self._table("Rates", RATES_KEYS, RemovalPolicy.DESTROY, recoverable=False) if counting else None
        self.rate = Rate(self._rates.table_name, options.requestsPerMinute) if self._rates else Rate()

        self.dead_letters = self._queue("DeadLetters")
        self.event_dead_letters = self._queue("EventDeadLetters")
        self.control = self._queue(
            "Control",
            name=options.controlQueue,
            visibility=Duration.seconds(6 * _EVENTS_TIMEOUT_SECONDS),
            dead_letters=self.event_dead_letters,
        )
        self.queues: dict[str, dict[str, sqs.IQueue]] = {
            group: {entry.rsplit(":", 1)[-1]: self._worker_queue(group, entry) for entry in entries}
            for group, entries in options.queues.items()
        }

        patterns = listed(options.discoveredQueues) if options.discovery else []
        entries = [entry for named in options.queues.values() for entry in named]
        covered = {entry for entry in entries if any(fnmatchcase(entry, pattern) for pattern in patterns)}
        named = [queue for members in self.queues.values() for queue in members.values()]
        self.worker_queue_arns = [
            queue.queue_arn for entry, queue in zip(entries, named, strict=True) if entry not in covered
        ] + [
            Stack.of(self).format_arn(service="sqs", resource=pattern, arn_format=ArnFormat.NO_RESOURCE_NAME)
            for pattern in patterns
        ]

        self.sealing = self._sealing()
        self._add_buckets()

    def _add_buckets(self) -> None:
        self.access_logs = kept.log_bucket(self, "AccessLogs", self._outlives)
        # Not versioned: an overwritten object is another attempt of the same job, and each would be kept and billed.
        self.media = kept.bucket(
            self,
            "Media",
            server_access_logs_bucket=self.access_logs,
            server_access_logs_prefix="media/",
            removal_policy=self._outlives,
        )
        let_pages_reach(self.media)
        self.media.add_lifecycle_rule(
            prefix=UPLOADS_FOLDER, abort_incomplete_multipart_upload_after=Duration.seconds(UPLOAD_SECONDS)
        )
        # Results of parts, in a bucket of their own: users reach no object in it, drops never see one, and what is left
        # expires without a rule on users' files.
        self.parts = kept.bucket(
            self,
            "Parts",
            server_access_logs_bucket=self.access_logs,
            server_access_logs_prefix="parts/",
            removal_policy=self._outlives,
        )
        self.parts.add_lifecycle_rule(expiration=Duration.days(_PARTS_DAYS))

    def _add_jobs(self, name: str) -> None:
        self.jobs = self._table(
            "Jobs",
            JOBS_KEYS,
            self._outlives,
            name=name,
            stream=dynamodb.StreamViewType.NEW_AND_OLD_IMAGES,
        )
        self.jobs.add_global_secondary_index(
            index_name=USER_INDEX,
            partition_key=_string(USER_KEYS[0]),
            sort_key=_string(USER_KEYS[1]),
            projection_type=dynamodb.ProjectionType.INCLUDE,
            non_key_attributes=list(USER_PROJECTION),
        )
        self.jobs.add_global_secondary_index(
            index_name=STATE_INDEX,
            partition_keys=list(map(_string, STATE_KEYS[:-1])),
            sort_key=_string(STATE_KEYS[-1]),
            projection_type=dynamodb.ProjectionType.INCLUDE,
            non_key_attributes=list(STATE_PROJECTION),
        )
        self.jobs.add_global_secondary_index(
            index_name=DUE_INDEX,
            partition_key=_string(DUE_KEYS[0]),
            sort_key=dynamodb.Attribute(name=DUE_KEYS[1], type=dynamodb.AttributeType.NUMBER),
            projection_type=dynamodb.ProjectionType.KEYS_ONLY,
        )

    def _add_batches(self) -> None:
        self.batches = self._table("Batches", BATCHES_KEYS, self._outlives)
        self.batches.add_global_secondary_index(
            index_name=OWNER_INDEX,
            partition_key=_string(OWNER_KEYS[0]),
            sort_key=_string(OWNER_KEYS[1]),
            projection_type=dynamodb.ProjectionType.INCLUDE,
            non_key_attributes=list(OWNER_PROJECTION),
        )

    def _add_connections(self) -> None:
        self.connections = self._table(
            "Connections",
            CONNECTIONS_KEYS,
            RemovalPolicy.DESTROY,
            stream=dynamodb.StreamViewType.NEW_IMAGE,
            recoverable=False,
        )
        self.connections.add_global_secondary_index(
            index_name=CONNECTION_INDEX,
            partition_key=_string(CONNECTION_KEYS[0]),
            sort_key=_string(CONNECTION_KEYS[1]),
            projection_type=dynamodb.ProjectionType.KEYS_ONLY,
        )
        self.connections.add_global_secondary_index(
            index_name=ENDING_INDEX,
            partition_key=_string(ENDING_KEYS[0]),
            sort_key=dynamodb.Attribute(name=ENDING_KEYS[1], type=dynamodb.AttributeType.NUMBER),
            projection_type=dynamodb.ProjectionType.KEYS_ONLY,
        )

    @property
    def queue_urls(self) -> Queues:
        """Group of workers → name of a queue → its URL."""
        return {
            group: {name: queue.queue_url for name, queue in members.items()} for group, members in self.queues.items()
        }

    @property
    def outputs(self) -> dict[str, str]:
        """The stack's outputs about storage; of each group of workers the first queue."""
        first = {
            f"{group.capitalize()}Queue": next(iter(urls.values())) for group, urls in self.queue_urls.items() if urls
        }
        return {
            "MediaBucket": self.media.bucket_name,
            "PartsBucket": self.parts.bucket_name,
            "JobsTable": self.jobs.table_name,
            "BatchesTable": self.batches.table_name,
            "ConnectionsTable": self.connections.table_name,
            "RegistryTable": self.registry.table_name,
            "ControlQueue": self.control.queue_url,
            "DeadLetterQueue": self.dead_letters.queue_url,
            "EventDeadLetterQueue": self.event_dead_letters.queue_url,
            **first,
        }

    def grant_worker_queues(self, function: lambda_.Function, *actions: str) -> None:
        """Allow a function actions on every worker queue."""
        function.add_to_role_policy(iam.PolicyStatement(actions=list(actions), resources=self.worker_queue_arns))

    def _sealing(self) -> kms.Key:
        """The key that encrypts keys of packages. Without it, jobs of before that hold one cannot run again."""
        return kms.Key(
            self,
            "Sealing",
            description="Encrypts the keys of packages in jobs of ElasticRecode",
            enable_key_rotation=True,
            removal_policy=self._outlives,
        )

    def let_seal(self, function: lambda_.Function) -> None:
        """Allow a function to encrypt the keys of packages, and not to decrypt them."""
        function.add_to_role_policy(iam.PolicyStatement(actions=["kms:Encrypt"], resources=[self.sealing.key_arn]))

    def let_count(self, *functions: lambda_.Function) -> None:
        """Let functions count users' requests, if callers are authenticated and a limit is set."""
        if self._rates:
            for function in functions:
                self._rates.grant(function, "dynamodb:UpdateItem")

    @property
    def events_timeout_seconds(self) -> int:
        """Time limit of the control queue's consumer: a sixth of the queue's visibility timeout."""
        return _EVENTS_TIMEOUT_SECONDS

    def _table(
        self,
        id_: str,
        keys: tuple[str, str],
        outlives: RemovalPolicy,
        *,
        name: str | None = None,
        stream: dynamodb.StreamViewType | None = None,
        sort: dynamodb.AttributeType = dynamodb.AttributeType.STRING,
        recoverable: bool = True,
    ) -> Table:
        return Table(
            self,
            id_,
            table_name=name,
            partition_key=_string(keys[0]),
            sort_key=dynamodb.Attribute(name=keys[1], type=sort),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            time_to_live_attribute=TTL,
            stream=stream,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=recoverable
            ),
            removal_policy=outlives,
        )

    def _worker_queue(self, group: str, entry: str) -> sqs.IQueue:
        """A new queue, or an existing one for an ARN.

        Workers of the first generation never extend the visibility timeout of an hour; others set their own when they
        receive.
        """
        if entry.startswith("arn:"):
            return sqs.Queue.from_queue_arn(self, f"{group.capitalize()}-{entry.rsplit(':', 1)[-1]}", entry)
        id_ = f"{group.capitalize()}-{entry}"
        return self._queue(
            id_,
            name=entry,
            visibility=Duration.hours(1),
            dead_letters=self.dead_letters,
            receives=self._worker_receives,
        )

    def _queue(
        self,
        id_: str,
        *,
        name: str | None = None,
        visibility: Duration | None = None,
        dead_letters: sqs.Queue | None = None,
        receives: int = _MAX_EVENT_RECEIVES,
    ) -> sqs.Queue:
        """A queue. Dead letters keep the time of their first sending, so their queue needs the longer retention."""
        redrive = sqs.DeadLetterQueue(queue=dead_letters, max_receive_count=receives) if dead_letters else None
        return kept.queue(
            self,
            id_,
            queue_name=name,
            visibility_timeout=visibility,
            retention_period=Duration.days(10 if dead_letters else 14),
            receive_message_wait_time=Duration.seconds(20),
            dead_letter_queue=redrive,
            removal_policy=self._outlives,
        )


def _string(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)
