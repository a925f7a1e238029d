"""What the option `serveMedia` deploys, and what the media bucket lets players read."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.infra.test_stack import CERTIFICATE, faults, template

KEY = (
    rsa.generate_private_key(public_exponent=65537, key_size=2048)
    .public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode()
)
EXPOSED = {"Accept-Ranges", "Content-Length", "Content-Range", "ETag"}


def resources(type_: str, **changes: Any) -> dict[str, Any]:
    """Logical id → properties of the resources of a type."""
    all_ = template(**changes)["Resources"].items()
    return {id_: each["Properties"] for id_, each in all_ if each["Type"] == f"AWS::{type_}"}


def distribution(**changes: Any) -> dict[str, Any]:
    """The configuration of the distribution of media."""
    every = resources("CloudFront::Distribution", **changes)
    (config,) = (each["DistributionConfig"] for id_, each in every.items() if id_.startswith("Serving"))
    assert isinstance(config, dict)
    return config


def test_nothing_is_served_by_default() -> None:
    assert not any(id_.startswith("Serving") for id_ in template()["Resources"])


def test_any_page_may_read_ranges_and_upload_where_it_has_urls_that_s3_accepts() -> None:
    rules = [
        each["CorsConfiguration"]["CorsRules"]
        for each in resources("S3::Bucket").values()
        if "CorsConfiguration" in each
    ]
    ((rule,),) = rules
    assert (set(rule["AllowedMethods"]), rule["AllowedOrigins"]) == ({"GET", "HEAD", "PUT"}, ["*"])
    assert set(rule["ExposedHeaders"]) == EXPOSED


def test_a_public_prefix_is_served_and_the_rest_of_the_bucket_has_no_url() -> None:
    config = distribution(serveMedia="public:out/films/")
    (origin,) = config["Origins"]
    assert origin["OriginPath"] == "/out/films"
    assert origin["OriginAccessControlId"]
    assert config["HttpVersion"] == "http2and3"
    behavior = config["DefaultCacheBehavior"]
    assert "TrustedKeyGroups" not in behavior
    assert (behavior["Compress"], behavior["ViewerProtocolPolicy"]) == (True, "https-only")
    for bucket in resources("S3::Bucket", serveMedia="public:out/films/").values():
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}


def test_only_the_distribution_may_read_the_bucket() -> None:
    policies = resources("S3::BucketPolicy", serveMedia="public:out/")
    (media,) = (each for id_, each in policies.items() if id_.startswith("StorageMedia"))
    (let,) = (each for each in media["PolicyDocument"]["Statement"] if each["Effect"] == "Allow")
    assert (let["Action"], let["Principal"]) == ("s3:GetObject", {"Service": "cloudfront.amazonaws.com"})
    assert "ServingDistribution" in json.dumps(let["Condition"]["StringEquals"]["AWS:SourceArn"])


def test_caches_keep_a_file_as_long_as_its_own_header_says() -> None:
    (policy,) = (
        each["CachePolicyConfig"] for each in resources("CloudFront::CachePolicy", serveMedia="public:out/").values()
    )
    assert (policy["MinTTL"], policy["DefaultTTL"], policy["MaxTTL"]) == (0, 60, 31536000)
    parameters = policy["ParametersInCacheKeyAndForwardedToOrigin"]
    assert parameters["EnableAcceptEncodingGzip"]
    assert parameters["EnableAcceptEncodingBrotli"]
    assert parameters["CookiesConfig"] == {"CookieBehavior": "none"}


def cors(**changes: Any) -> list[dict[str, Any]]:
    policies = resources("CloudFront::ResponseHeadersPolicy", **changes).items()
    return [each["ResponseHeadersPolicyConfig"]["CorsConfig"] for id_, each in policies if id_.startswith("Serving")]


def test_pages_of_any_origin_play_what_is_public() -> None:
    (config,) = cors(serveMedia="public:out/")
    assert config["AccessControlAllowOrigins"] == {"Items": ["*"]}
    assert config["AccessControlAllowCredentials"] is False
    assert set(config["AccessControlExposeHeaders"]["Items"]) == EXPOSED
    assert "Range" in config["AccessControlAllowHeaders"]["Items"]


def test_what_is_signed_is_served_for_cookies_of_the_key_alone_and_to_named_origins() -> None:
    signed = {"serveMedia": "signed:out/", "mediaKey": KEY, "cors": "https://app.example.com"}
    (group,) = distribution(**signed)["DefaultCacheBehavior"]["TrustedKeyGroups"]
    (key,) = resources("CloudFront::PublicKey", **signed).values()
    assert group["Ref"].startswith("ServingKeys")
    assert key["PublicKeyConfig"]["EncodedKey"] == KEY
    (config,) = cors(**signed)
    assert config["AccessControlAllowOrigins"] == {"Items": ["https://app.example.com"]}
    assert config["AccessControlAllowCredentials"] is True
    assert {"MediaUrl", "MediaKeyId"} <= set(template(**signed)["Outputs"])


@pytest.mark.parametrize("origins", ["", "*"])
def test_what_is_signed_is_for_pages_of_the_same_origin_where_none_is_named(origins: str) -> None:
    signed = {"serveMedia": "signed:out/", "mediaKey": KEY, "cors": origins}
    assert cors(**signed) == []
    assert "ResponseHeadersPolicyId" not in distribution(**signed)["DefaultCacheBehavior"]


def test_a_domain_of_its_own_accepts_tls_1_2_and_newer() -> None:
    config = distribution(serveMedia="public:out/", mediaDomain="media.example.com", certificate=CERTIFICATE)
    assert config["Aliases"] == ["media.example.com"]
    assert config["ViewerCertificate"]["MinimumProtocolVersion"] == "TLSv1.2_2021"


@pytest.mark.parametrize(
    ("given", "option", "detail"),
    [
        ({"serveMedia": "public:"}, "serveMedia", "prefix"),
        ({"serveMedia": "public:out"}, "serveMedia", "ends in /"),
        ({"serveMedia": "everything:out/"}, "serveMedia", "public:<prefix>"),
        ({"serveMedia": "public:a b/"}, "serveMedia", "prefix"),
        ({"serveMedia": "signed:out/"}, "mediaKey", "must be given"),
        ({"serveMedia": "public:out/", "mediaKey": KEY}, "mediaKey", "is for"),
        ({"serveMedia": "signed:out/", "mediaKey": "secret"}, "mediaKey", "PEM"),
        ({"mediaDomain": "m.example.com", "certificate": CERTIFICATE}, "mediaDomain", "off"),
        ({"serveMedia": "public:out/", "mediaDomain": "m.example.com"}, "mediaDomain", "certificate"),
        (
            {"serveMedia": "public:out/", "mediaDomain": "m.example.com,n.example.com", "certificate": CERTIFICATE},
            "mediaDomain",
            "one domain",
        ),
    ],
)
def test_wrong_options_are_refused(given: dict[str, Any], option: str, detail: str) -> None:
    assert detail in faults(**given)[option]
