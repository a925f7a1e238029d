"""CloudFront in front of the media bucket's outputs, by the option `serveMedia`; the bucket itself stays private."""

import hashlib

from aws_cdk import Duration
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cloudfront_origins as origins
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.options import Options, listed

EXPOSED = ["Accept-Ranges", "Content-Length", "Content-Range", "ETag"]
"""Headers of answers that players and uploads read."""
_SENT = ["If-Modified-Since", "If-None-Match", "Range"]
_SECONDS = 3600


def let_pages_reach(bucket: s3.Bucket) -> None:
    """Let pages of any origin read and write objects by URLs that S3 accepts. It makes nothing public."""
    bucket.add_cors_rule(
        allowed_methods=[s3.HttpMethods.GET, s3.HttpMethods.HEAD, s3.HttpMethods.PUT],
        allowed_origins=["*"],
        allowed_headers=["*"],
        exposed_headers=EXPOSED,
        max_age=_SECONDS,
    )


class MediaServing(Construct):
    """`outputs` are the stack's outputs: the URL of the served prefix and, where cookies are signed, the key's id."""

    def __init__(self, scope: Construct, id_: str, options: Options, media: s3.Bucket) -> None:
        super().__init__(scope, id_)
        access, _, prefix = options.serveMedia.partition(":")
        keys = self._keys(options.mediaKey) if access == "signed" else None
        domains = listed(options.mediaDomain)
        certificate = (
            acm.Certificate.from_certificate_arn(self, "Certificate", options.certificate) if domains else None
        )
        distribution = cloudfront.Distribution(
            self,
            "Distribution",
            comment="Outputs of ElasticRecode",
            http_version=cloudfront.HttpVersion.HTTP2_AND_3,
            web_acl_id=options.web_acl("global"),
            domain_names=domains or None,
            certificate=certificate,
            minimum_protocol_version=cloudfront.SecurityPolicyProtocol.TLS_V1_2_2021 if domains else None,
            default_behavior=cloudfront.BehaviorOptions(
                # Nothing outside the path has a URL here.
                origin=origins.S3BucketOrigin.with_origin_access_control(media, origin_path=f"/{prefix.rstrip('/')}"),
                allowed_methods=cloudfront.AllowedMethods.ALLOW_GET_HEAD_OPTIONS,
                viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.HTTPS_ONLY,
                cache_policy=self._cache_policy(),
                compress=True,
                response_headers_policy=self._headers_policy(listed(options.cors), is_signed=keys is not None),
                trusted_key_groups=[cloudfront.KeyGroup(self, "Keys", items=[keys])] if keys else None,
            ),
        )
        self.outputs = {"MediaUrl": f"https://{domains[0] if domains else distribution.distribution_domain_name}"}
        if keys:
            self.outputs["MediaKeyId"] = keys.public_key_id

    def _keys(self, pem: str) -> cloudfront.PublicKey:
        """The key. CloudFront never changes one, so another key is another resource."""
        return cloudfront.PublicKey(self, f"Key{hashlib.sha256(pem.encode()).hexdigest()[:8]}", encoded_key=pem)

    def _cache_policy(self) -> cloudfront.CachePolicy:
        """Keep files as long as their Cache-Control says, which workers set; files without one for a minute."""
        return cloudfront.CachePolicy(
            self,
            "Cache",
            min_ttl=Duration.seconds(0),
            default_ttl=Duration.minutes(1),
            max_ttl=Duration.days(365),
            enable_accept_encoding_gzip=True,
            enable_accept_encoding_brotli=True,
        )

    def _headers_policy(self, allowed: list[str], *, is_signed: bool) -> cloudfront.ResponseHeadersPolicy | None:
        """The CORS headers.

        Browsers send cookies only to origins that are named. Without any, pages of the same origin alone may play what
        is signed.
        """
        if is_signed and (not allowed or allowed == ["*"]):
            return None
        return cloudfront.ResponseHeadersPolicy(
            self,
            "Cors",
            cors_behavior=cloudfront.ResponseHeadersCorsBehavior(
                access_control_allow_credentials=is_signed,
                access_control_allow_headers=_SENT,
                access_control_allow_methods=["GET", "HEAD", "OPTIONS"],
                access_control_allow_origins=allowed if is_signed else ["*"],
                access_control_expose_headers=EXPOSED,
                access_control_max_age=Duration.seconds(_SECONDS),
                origin_override=True,
            ),
        )
