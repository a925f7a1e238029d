"""What workers may do: a managed policy, for the role that they have wherever they run."""

from aws_cdk import aws_iam as iam

from infra.storage import Storage


def worker_policy(storage: Storage, job_role: iam.Role) -> iam.ManagedPolicy:
    """Take jobs from their queues, claim them, tell of them, and take the role for jobs, which has the files."""
    allowed = {
        ("sqs:GetQueueUrl", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"): (
            storage.worker_queue_arns
        ),
        ("sqs:GetQueueUrl", "sqs:SendMessage"): [storage.control.queue_arn],
        ("dynamodb:UpdateItem",): [storage.jobs.table_arn],
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
