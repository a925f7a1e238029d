"""Which addresses and URLs a webhook may have."""

import pytest

from elasticrecode.webhooks import addresses

PUBLIC = ["1.1.1.1", "93.184.215.14", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111", "64:ff9b::101:101",
          "::ffff:1.1.1.1", "2002:101:101::1"]  # fmt: skip
REFUSED = {
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12:3456::1"],
    "link-local": ["169.254.0.1", "fe80::1", "fe80::1%eth0"],
    "metadata": ["169.254.169.254", "169.254.170.2", "fd00:ec2::254"],
    "shared": ["100.64.0.1", "100.127.255.255"],
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],
    "multicast": ["224.0.0.1", "239.1.1.1", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.0.9", "192.88.99.1", "203.0.113.1"],
    "mapped": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1"],
    "tunnelled": ["2002:7f00:1::", "2002:a9fe:a9fe::1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1",
                  "2001:0:4136:e378:8000:63bf:3fff:fdd2"],
    "special": ["2001:db8::1", "3fff::1", "5f00::1", "fec0::1", "100::1"],
}  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_internet_addresses_are_public(address: str) -> None:
    assert addresses.is_public(address)


@pytest.mark.parametrize("address", [address for kind in REFUSED.values() for address in kind])
def test_other_addresses_are_not_public(address: str) -> None:
    assert not addresses.is_public(address)


def test_allowed_networks_match_every_form_of_an_address() -> None:
    allowed = addresses.networks(["127.0.0.0/8", "::1/128"])
    assert addresses.is_within("127.0.0.1", allowed)
    assert addresses.is_within("::ffff:127.0.0.1", allowed)
    assert addresses.is_within("::1", allowed)
    assert not addresses.is_within("10.0.0.1", allowed)
    assert not addresses.is_within("::ffff:10.0.0.1", allowed)


def test_a_url_is_split_into_its_parts() -> None:
    assert addresses.parse("https://Example.com") == (True, "example.com", 443, "/")
    assert addresses.parse("http://127.0.0.1:8080/a/b?c=d&e") == (False, "127.0.0.1", 8080, "/a/b?c=d&e")
    assert addresses.parse("https://[2606:4700::1]:8443?x") == (True, "2606:4700::1", 8443, "/?x")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://example.com/", "https://"),
        ("example.com/hook", "https://"),
        ("https://", "host"),
        ("https:///path", "host"),
        ("https://user:word@example.com/", "credentials"),
        ("https://@example.com/", "credentials"),
        ("https://example.com/#part", "fragment"),
        ("https://example.com/a b", "spaces"),
        ("https://example.com/\r\nHost: other", "printable"),
        ("https://exämple.com/", "ASCII"),
        ("https://example.com\\@127.0.0.1/", "backslashes"),
        ("https://example.com:0/", "port"),
        ("https://example.com:99999/", "valid"),
        ("https://[::1/", "valid"),
        ("https://[fe80::1%25eth0]/", "host"),
        ("https://[nothing]/", "valid"),
        ("https://example.com/" + "x" * 2048, "2048"),
    ],
)
def test_an_unusable_url_is_refused_with_the_reason(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        addresses.parse(url)
