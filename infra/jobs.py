"""Jobs: from a request to a worker queue, and from workers' events back to the record.

submit, vmaf ─▶ jobs table ─stream─▶ dispatch ─▶ worker queues
jobs, logs ───▶     ▲  ▲
                    │  └── consume ◀─ control queue ◀─ workers
                    └───── reconcile, every minute
"""

from aws_cdk import Duration
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs

from elasticrecode.contract import tables
from elasticrecode.jobs.streams import DISPATCH
from infra.functions import Functions
from infra.sources import follow, take_from
from infra.storage import Storage

_BY_KEY = ("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:BatchGetItem")


class Jobs:
    """The functions of jobs. `served` are those that answer requests, by name; `tallies` takes changes of jobs."""

    def __init__(self, functions: Functions, storage: Storage, tallies: sqs.Queue) -> None:
        self._functions, self._storage = functions, storage
        self.served = {**self._submission(), **self._management()}
        self.dispatch = self._dispatch(tallies)
        self._consume()
        self.reconcile = self._reconcile()

    def _submission(self) -> dict[str, lambda_.Function]:
        submit, vmaf, plans, presets = map(self._functions.make, ("submit", "vmaf", "plans", "presets"))
        self._storage.jobs.grant(submit, "dynamodb:BatchWriteItem", *_BY_KEY)
        for function in (vmaf, plans):
            self._storage.jobs.grant(function, *_BY_KEY)
        for function in (submit, vmaf, plans):
            self._storage.registry.grant(function, "dynamodb:Query")
        self._storage.registry.grant(presets, "dynamodb:Query", "dynamodb:PutItem", "dynamodb:DeleteItem")
        for function in (submit, plans):
            self._storage.let_seal(function)
        self._storage.let_count(submit, vmaf, plans)
        return {"submit": submit, "vmaf": vmaf, "plans": plans, "presets": presets}

    def _management(self) -> dict[str, lambda_.Function]:
        jobs, logs = self._functions.make("jobs"), self._functions.make("logs")
        self._storage.jobs.grant(jobs, "dynamodb:BatchGetItem", "dynamodb:UpdateItem", "dynamodb:PutItem")
        self._storage.jobs.grant(logs, "dynamodb:Query", "dynamodb:BatchGetItem")
        for function in (jobs, logs):
            self._storage.jobs.let_query(function, tables.USER_INDEX)
        self._storage.jobs.let_query(jobs, tables.STATE_INDEX)
        self._storage.registry.grant(jobs, "dynamodb:Query")
        self._storage.batches.grant(
            jobs, "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"
        )
        self._storage.let_count(jobs)
        return {"jobs": jobs, "logs": logs}

    def _dispatch(self, tallies: sqs.Queue) -> lambda_.Function:
        dispatch = self._functions.make("dispatch", seconds=60)
        self._storage.jobs.grant(dispatch, "dynamodb:UpdateItem")
        self._storage.registry.grant(dispatch, "dynamodb:Query", "dynamodb:PutItem")
        self._storage.batches.grant(dispatch, "dynamodb:BatchGetItem", "dynamodb:PutItem")
        self._storage.grant_worker_queues(dispatch, "sqs:SendMessage", "sqs:GetQueueAttributes")
        tallies.grant(dispatch, "sqs:SendMessage")
        follow(dispatch, self._storage.jobs, DISPATCH)
        return dispatch

    def _consume(self) -> None:
        consume = self._functions.make("consume", seconds=self._storage.events_timeout_seconds)
        self._storage.jobs.grant(consume, "dynamodb:BatchWriteItem", "dynamodb:PutItem", "dynamodb:UpdateItem")
        self._storage.event_dead_letters.grant(consume, "sqs:SendMessage")
        take_from(consume, self._storage.control, batch_size=100, window=Duration.seconds(1))

    def _reconcile(self) -> lambda_.Function:
        reconcile = self._functions.make("reconcile", seconds=50)
        self._storage.jobs.grant(reconcile, "dynamodb:BatchGetItem", "dynamodb:UpdateItem", "dynamodb:PutItem")
        self._storage.jobs.let_query(reconcile, tables.DUE_INDEX)
        self._storage.registry.grant(reconcile, "dynamodb:Query", "dynamodb:PutItem")
        self._storage.grant_worker_queues(
            reconcile,
            "sqs:GetQueueAttributes",
            "sqs:ReceiveMessage",
            "sqs:DeleteMessage",
            "sqs:ChangeMessageVisibility",
        )
        for letters in (self._storage.dead_letters, self._storage.event_dead_letters):
            letters.grant(reconcile, "sqs:ReceiveMessage", "sqs:DeleteMessage")
        self._storage.control.grant(reconcile, "sqs:SendMessage")
        self._functions.run_each_minute(reconcile)
        return reconcile
