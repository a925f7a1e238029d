"""The front door: CloudFront in front of the site's bucket, the REST API and the WebSocket API."""

from collections.abc import Sequence

from aws_cdk import Duration, Fn, RemovalPolicy
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cloudfront_origins as origins
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_deployment as deployment
from constructs import Construct

from elasticrecode.api import headers
from infra import kept
from infra.options import ROOT, Options, listed

_INDEX = """
function handler(event) {
  if (["/index", "/docs"].includes(event.request.uri)) event.request.uri += ".html";
  return event.request;
}
"""


class FrontDoor(Construct):
    """`url` is the product's address: `/`, `/docs`, `/static/*`, `/api/*` and `/ws`.

    `media` are the origins of the files that the page shows.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        options: Options,
        *,
        rest_url: str,
        socket_url: str,
        sign_in_url: str,
        media: Sequence[str],
        access_logs: s3.Bucket,
    ) -> None:
        super().__init__(scope, id_)
        site = kept.bucket(
            self,
            "Site",
            server_access_logs_bucket=access_logs,
            server_access_logs_prefix="site/",
            removal_policy=RemovalPolicy.DESTROY,
            auto_delete_objects=True,
        )
        api = _to(rest_url)
        domains = listed(options.domains)
        certificate = (
            acm.Certificate.from_certificate_arn(self, "Certificate", options.certificate) if domains else None
        )
        distribution = cloudfront.Distribution(
            self,
            "Distribution",
            default_root_object="index.html",
            web_acl_id=options.web_acl("global"),
            domain_names=domains or None,
            certificate=certificate,
            minimum_protocol_version=cloudfront.SecurityPolicyProtocol.TLS_V1_2_2021 if domains else None,
            default_behavior=cloudfront.BehaviorOptions(
                origin=origins.S3BucketOrigin.with_origin_access_control(site),
                viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.REDIRECT_TO_HTTPS,
                response_headers_policy=_headers_policy(self, sign_in_url, media),
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
            sources=[deployment.Source.asset(str(ROOT / options.siteFolder))],
            destination_bucket=site,
            distribution=distribution,
        )
        self.url = f"https://{domains[0] if domains else distribution.distribution_domain_name}"


def _headers_policy(scope: Construct, sign_in_url: str, media: Sequence[str]) -> cloudfront.ResponseHeadersPolicy:
    """The headers of the home page: CloudFront has a property for each security header and takes the others by name."""
    page = headers.page(sign_in_url, media)
    security = cloudfront.ResponseSecurityHeadersBehavior(
        content_security_policy=cloudfront.ResponseHeadersContentSecurityPolicy(
            content_security_policy=page.pop(headers.CONTENT_SECURITY_POLICY), override=True
        ),
        content_type_options=cloudfront.ResponseHeadersContentTypeOptions(override=True),
        frame_options=cloudfront.ResponseHeadersFrameOptions(
            frame_option=cloudfront.HeadersFrameOption[page.pop(headers.FRAME_OPTIONS)], override=True
        ),
        referrer_policy=cloudfront.ResponseHeadersReferrerPolicy(
            referrer_policy=cloudfront.HeadersReferrerPolicy[
                page.pop(headers.REFERRER_POLICY).upper().replace("-", "_")
            ],
            override=True,
        ),
        strict_transport_security=cloudfront.ResponseHeadersStrictTransportSecurity(
            access_control_max_age=Duration.seconds(headers.HSTS_SECONDS), override=True
        ),
    )
    del page[headers.CONTENT_TYPE_OPTIONS], page[headers.HSTS]  # CloudFront writes these itself
    return cloudfront.ResponseHeadersPolicy(
        scope,
        "Headers",
        security_headers_behavior=security,
        custom_headers_behavior=cloudfront.ResponseCustomHeadersBehavior(
            custom_headers=[
                cloudfront.ResponseCustomHeader(header=name, value=value, override=True) for name, value in page.items()
            ]
        ),
    )


def _to(url: str) -> cloudfront.BehaviorOptions:
    """Forward a path, uncached, to the origin of `url`, whose stage is called like the path."""
    return cloudfront.BehaviorOptions(
        origin=origins.HttpOrigin(Fn.select(2, Fn.split("/", url))),
        allowed_methods=cloudfront.AllowedMethods.ALLOW_ALL,
        cache_policy=cloudfront.CachePolicy.CACHING_DISABLED,
        origin_request_policy=cloudfront.OriginRequestPolicy.ALL_VIEWER_EXCEPT_HOST_HEADER,
        viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.HTTPS_ONLY,
    )
