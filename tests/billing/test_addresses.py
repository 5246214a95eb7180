"""Where anything may be sent to: one table for receivers of events and of exports."""

from ipaddress import ip_address

import pytest

from billing.actions.deliveries import create_destination
from billing.actions.webhooks import add_webhook
from billing.clients.delivery import Message, find_address, make_secret, send
from billing.rules.addresses import LONGEST, Refused, choose, fault_of_url, is_public, read_url
from billing.rules.destinations import Target
from tenants.base.scope import scope_of
from tenants.errors import Invalid
from tests.billing.factories import NOW

NONE = {
    "plain HTTP": "http://example.com/",
    "another scheme": "ftp://example.com/",
    "no scheme": "example.com/in",
    "no host": "https:///path",
    "a user and a password": "https://user:word@example.com/",
    "no such port": "https://example.com:99999/",
    "port zero": "https://example.com:0/",
    "half a bracket": "https://[::1",
    "a backslash before the host": "https://example.com\\@10.0.0.1/",
    "a line break": "https://example.com/\nHost: internal",
    "a space in the host": "https://exam ple.com/",
    "a host that no header can name": "https://b\u00fccher.example/",
    "too long": "https://example.com/" + "x" * LONGEST,
}
# Written as addresses, they are refused when they are entered.
NOT_PUBLIC = {
    "this machine": "127.0.0.1",
    "any address": "0.0.0.0",
    "a private network": "10.1.2.3",
    "a home network": "192.168.0.1",
    "a company's network": "172.16.0.1",
    "metadata of a cloud, link-local": "169.254.169.254",
    "shared by a carrier": "100.64.0.1",
    "multicast": "224.0.0.1",
    "broadcast": "255.255.255.255",
    "this machine, IPv6": "[::1]",
    "unique local": "[fd00::1]",
    "link-local, IPv6": "[fe80::1]",
    "site-local": "[fec0::1]",
    "multicast, IPv6": "[ff02::1]",
    "IPv4 mapped": "[::ffff:127.0.0.1]",
    "IPv4 compatible": "[::127.0.0.1]",
    "6to4 of this machine": "[2002:7f00:1::]",
    "NAT64 of a private network": "[64:ff9b::10.0.0.1]",
    "NAT64 of a network of one's own": "[64:ff9b:1::1]",
    "Teredo": "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
}
# These are names to a parser, and addresses to the resolver: found when something is sent.
IN_DISGUISE = {"a number": "2130706433", "hexadecimal": "0x7f.1", "this machine": "localhost"}
PUBLIC = ("93.184.215.14", "[2606:4700::1111]", "[64:ff9b::8.8.8.8]", "ledger.example.com")


def address_of(host):
    return ip_address(host.strip("[]"))


@pytest.mark.parametrize("url", NONE.values(), ids=NONE)
def test_it_refuses_an_address_that_is_none(url):
    assert fault_of_url(url, allow_private=False)


@pytest.mark.parametrize("host", NOT_PUBLIC.values(), ids=NOT_PUBLIC)
def test_it_refuses_what_is_not_public(host):
    assert not is_public(address_of(host))
    assert "is not a public address" in fault_of_url(f"https://{host}/in", allow_private=False)
    assert fault_of_url(f"http://{host}/in", allow_private=True) == ""


@pytest.mark.parametrize("host", PUBLIC)
def test_it_takes_public_addresses_and_names(host):
    assert fault_of_url(f"https://{host}:8443/in?a=1", allow_private=False) == ""


@pytest.mark.parametrize("host", [*NOT_PUBLIC.values(), *IN_DISGUISE.values()])
def test_it_refuses_what_the_resolver_makes_of_a_host(host):
    parts = read_url(f"https://{host}/in", allow_private=False)
    with pytest.raises(Refused, match="is not a public address"):
        find_address(parts, allow_private=False)


def test_one_private_address_among_public_ones_refuses_the_name():
    found = [address_of("93.184.215.14"), address_of("10.0.0.8")]
    with pytest.raises(Refused, match=r"two\.example is at 10\.0\.0\.8, which is not a public"):
        choose("two.example", found, allow_private=False)
    assert choose("two.example", found, allow_private=True) == found[0]
    assert choose("one.example", found[:1], allow_private=False) == found[0]


@pytest.mark.parametrize("url", [*NONE.values(), "https://169.254.169.254/", "https://[::1]/"])
def test_nothing_is_sent_there(url):
    answer = send(Message(url, "k", make_secret(b"x" * 32), b"{}", "text/plain"), now=NOW)
    assert answer.is_final and answer.status is None and answer.why


@pytest.mark.django_db
@pytest.mark.parametrize("url", [*NONE.values(), "https://10.0.0.8/in", "https://[::1]/"])
def test_both_kinds_of_receivers_refuse_it_with_the_same_sentence(url, fin, settings):
    settings.QM_ALLOW_PRIVATE_DELIVERY = False
    said = fault_of_url(url, allow_private=False)
    with scope_of(fin):
        with pytest.raises(Invalid) as webhook:
            add_webhook(fin, url, ["period.closed"])
        with pytest.raises(Invalid) as receiver:
            create_destination(fin, Target("Ledger", url))
    assert webhook.value.fields["url"] == receiver.value.fields["url"] == said


@pytest.mark.django_db
def test_both_kinds_of_receivers_take_the_longest_address(fin):
    url = "https://example.com/".ljust(LONGEST, "x")
    with scope_of(fin):
        assert add_webhook(fin, url, ["period.closed"])[0].url == url
        assert create_destination(fin, Target("Ledger", url))[0].url == url
