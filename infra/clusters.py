"""Access of discovery to EKS clusters: its IAM actions, and an access entry in each cluster."""

from aws_cdk import Stack
from aws_cdk import aws_eks as eks
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.options import Options, listed

GROUP = "elasticrecode-discovery"
"""The group in Kubernetes that `deploy/k8s/discovery` allows to list Deployments."""


class Clusters(Construct):
    """The clusters of the option `clusters`."""

    def __init__(self, scope: Construct, id_: str, options: Options) -> None:
        super().__init__(scope, id_)
        self._tagged = options.clusters.startswith("tag:")
        self._named = [] if self._tagged else listed(options.clusters)
        self._entries = options.accessEntries

    def grant(self, function: lambda_.Function) -> None:
        """Let a function describe the clusters, and give it an access entry in those of this account and Region.

        Clusters of a tag are unknown at synthesis, and a stack creates nothing in another Region: their access
        entries are created by hand (docs/how-to/eks.md).
        """
        statements = {"eks:DescribeCluster": [self._arn(entry) for entry in self._named] or [self._arn("*")]}
        if self._tagged:
            statements["eks:ListClusters"] = ["*"]
        for action, resources in statements.items():
            function.add_to_role_policy(iam.PolicyStatement(actions=[action], resources=resources))
        if not self._entries or not function.role:
            return
        for name in (entry for entry in self._named if not entry.startswith("arn:")):
            eks.CfnAccessEntry(
                self,
                f"Access-{name}",
                cluster_name=name,
                principal_arn=function.role.role_arn,
                kubernetes_groups=[GROUP],
            )

    def _arn(self, entry: str) -> str:
        if entry.startswith("arn:"):
            return entry
        return Stack.of(self).format_arn(service="eks", resource="cluster", resource_name=entry)
