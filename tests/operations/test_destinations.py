"""Where webhooks may go: nowhere but to public addresses, and to the one that was checked."""

import socket

import pytest

from auditor.operations.destinations import destination, is_public
from auditor.operations.errors import Unacceptable


def to(*addresses):
    return lambda host, port: list(addresses)


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450:4001:80b::200e"])
def test_hosts_of_the_internet_are_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",  # shared by carriers, and a cloud's metadata
        "127.0.0.1",
        "127.8.8.8",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.192",
        "192.168.1.1",
        "198.18.0.1",
        "203.0.113.9",
        "224.0.0.251",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",  # NAT64 of 127.0.0.1
        "64:ff9b:1::a00:1",
        "2001::7f00:1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff0e::1",
    ],
)
def test_all_other_addresses_are_not(address):
    assert not is_public(address)
    with pytest.raises(Unacceptable, match="not public"):
        destination("https://hooks.example/x", "public", to(address))


def test_one_private_address_among_public_ones_is_enough_to_refuse():
    with pytest.raises(Unacceptable, match="not public"):
        destination("https://hooks.example/x", "public", to("8.8.8.8", "10.0.0.1"))


def test_the_checked_address_is_kept():
    answers = iter([["8.8.8.8"], ["127.0.0.1"]])
    place = destination("https://hooks.example:8443/x", "public", lambda host, port: next(answers))
    assert (place.address, place.url.host, place.url.port) == ("8.8.8.8", "hooks.example", 8443)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://hooks.example/", "https://"),
        ("ftp://hooks.example/", "https://"),
        ("file:///etc/passwd", "https://"),
        ("hooks.example", "https://"),
        ("https://", "HOST"),
        ("https://user:word@hooks.example/", "user and password"),
        ("https://trusted.example@hooks.example/", "user and password"),
        ("https://hooks.example:22/", "port 22"),
        ("https://hooks.example:0/", "port 0"),
        ("https://hooks.example:65536/", "port 65536"),
        ("https://hooks.example:x/", "not understood"),
        ("https://a\nb.example/", "not understood"),
        ("https://⒈.example/", "not understood"),
    ],
)
def test_urls_that_are_not_acceptable_are_refused_before_any_look_up(url, why):
    def never(host, port):
        raise AssertionError("looked up")

    with pytest.raises(Unacceptable, match=why):
        destination(url, "public", never)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "2130706433", "0x7f.1", "127.1", "localhost"])
def test_every_way_to_write_this_machine_is_refused(host):
    with pytest.raises(Unacceptable):
        destination(f"https://{host}/", "public")


def test_a_name_that_does_not_resolve_is_named():
    def unknown(host, port):
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(Unacceptable, match=r"nowhere\.example cannot be resolved"):
        destination("https://nowhere.example/", "public", unknown)
    with pytest.raises(Unacceptable, match="cannot be resolved"):
        destination(f"https://{'a' * 70}.example/", "public")


def test_a_closed_network_may_be_allowed():
    place = destination("http://10.0.0.1:80/x", "any", to("10.0.0.1"))
    assert place.address == "10.0.0.1"
    with pytest.raises(Unacceptable, match="http:// or https://"):
        destination("gopher://10.0.0.1/", "any", to("10.0.0.1"))
