"""One origin on AWS: CloudFront before the site's bucket, the REST API and the WebSocket API."""

from aws_cdk import Fn, RemovalPolicy
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cloudfront_origins as origins
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_deployment as deployment
from constructs import Construct

from infra.options import ROOT

_INDEX = """
function handler(event) {
  if (event.request.uri === "/index") event.request.uri = "/index.html";
  return event.request;
}
"""


class FrontDoor(Construct):
    """`url` is the product's address: `/`, `/static/*`, `/api/*` and `/ws`."""

    def __init__(self, scope: Construct, id_: str, *, site_folder: str, rest_url: str, socket_url: str) -> None:
        super().__init__(scope, id_)
        site = s3.Bucket(
            self,
            "Site",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            removal_policy=RemovalPolicy.DESTROY,
            auto_delete_objects=True,
        )
        api = _to(rest_url)
        distribution = cloudfront.Distribution(
            self,
            "Distribution",
            default_root_object="index.html",
            default_behavior=cloudfront.BehaviorOptions(
                origin=origins.S3BucketOrigin.with_origin_access_control(site),
                viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.REDIRECT_TO_HTTPS,
                response_headers_policy=cloudfront.ResponseHeadersPolicy.SECURITY_HEADERS,
                function_associations=[
                    cloudfront.FunctionAssociation(
                        event_type=cloudfront.FunctionEventType.VIEWER_REQUEST,
                        function=cloudfront.Function(
                            self,
                            "Index",
                            code=cloudfront.FunctionCode.from_inline(_INDEX),
                            runtime=cloudfront.FunctionRuntime.JS_2_0,
                        ),
                    )
                ],
            ),
            additional_behaviors={"/api": api, "/api/*": api, "/ws": _to(socket_url)},
        )
        deployment.BucketDeployment(
            self,
            "SiteFiles",
            sources=[deployment.Source.asset(str(ROOT / site_folder))],
            destination_bucket=site,
            distribution=distribution,
        )
        self.url = f"https://{distribution.distribution_domain_name}"


def _to(url: str) -> cloudfront.BehaviorOptions:
    """Everything under a path goes to the origin at `url`, whose stage is that path; nothing is kept."""
    return cloudfront.BehaviorOptions(
        origin=origins.HttpOrigin(Fn.select(2, Fn.split("/", url))),
        allowed_methods=cloudfront.AllowedMethods.ALLOW_ALL,
        cache_policy=cloudfront.CachePolicy.CACHING_DISABLED,
        origin_request_policy=cloudfront.OriginRequestPolicy.ALL_VIEWER_EXCEPT_HOST_HEADER,
        viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.HTTPS_ONLY,
    )
