"""What workers may do: a managed policy, for the role that they have wherever they run."""

from aws_cdk import aws_iam as iam

from infra.storage import Storage


def worker_policy(storage: Storage) -> iam.ManagedPolicy:
    """Take jobs from their queues, claim them, tell of them, read and write the product's bucket."""
    objects = [storage.media.arn_for_objects("*")]
    allowed = {
        ("sqs:GetQueueUrl", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"): (
            storage.worker_queue_arns
        ),
        ("sqs:GetQueueUrl", "sqs:SendMessage"): [storage.control.queue_arn],
        ("dynamodb:UpdateItem",): [storage.jobs.table_arn],
        ("s3:GetObject",): objects,
        # What a job made is taken away again where it is cancelled while it is uploaded.
        ("s3:PutObject", "s3:AbortMultipartUpload", "s3:DeleteObject"): objects,
    }
    return iam.ManagedPolicy(
        storage,
        "WorkerPolicy",
        description="What workers of ElasticRecode may do",
        statements=[
            iam.PolicyStatement(actions=list(actions), resources=resources) for actions, resources in allowed.items()
        ],
    )
