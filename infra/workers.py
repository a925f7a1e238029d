"""Workers: the routes about them, discovery of Deployments in EKS clusters, and the policy that workers need."""

from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from elasticrecode.contract.tables import DUE_INDEX
from infra.clusters import Clusters
from infra.functions import Functions
from infra.options import Options
from infra.storage import Storage


class Workers:
    """The functions of workers. `served` answer requests, by name; `discover` is None without discovery."""

    def __init__(self, scope: Construct, options: Options, functions: Functions, storage: Storage) -> None:
        workers = functions.make("workers")
        storage.registry.grant(workers, "dynamodb:Query", "dynamodb:PutItem", "dynamodb:DeleteItem")
        storage.grant_worker_queues(workers, "sqs:GetQueueAttributes")
        self.served = {"workers": workers}
        self.discover: lambda_.Function | None = None
        if options.discovery:
            self.discover = functions.make("discover", seconds=50)
            storage.registry.grant(self.discover, "dynamodb:Query", "dynamodb:PutItem", "dynamodb:DeleteItem")
            storage.grant_worker_queues(self.discover, "sqs:GetQueueUrl")
            Clusters(scope, "Clusters", options).grant(self.discover)
            functions.run_each_minute(self.discover)


def worker_policy(storage: Storage, job_role: iam.Role) -> iam.ManagedPolicy:
    """A managed policy for the role that workers have wherever they run.

    It lets them take jobs from their queues, claim jobs, commit their outputs, send events, and assume the role that
    reaches files of jobs.
    """
    allowed = {
        ("sqs:GetQueueUrl", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"): (
            storage.worker_queue_arns
        ),
        ("sqs:GetQueueUrl", "sqs:SendMessage"): [storage.control.queue_arn],
        ("dynamodb:UpdateItem", "dynamodb:BatchGetItem"): [storage.jobs.table_arn],
        ("dynamodb:Query",): [f"{storage.jobs.table_arn}/index/{DUE_INDEX}"],
        ("sts:AssumeRole", "sts:TagSession"): [job_role.role_arn],
    }
    return iam.ManagedPolicy(
        storage,
        "WorkerPolicy",
        description="What workers of ElasticRecode may do",
        statements=[
            iam.PolicyStatement(actions=list(actions), resources=resources) for actions, resources in allowed.items()
        ],
    )
