"""What is taken of a kubeconfig, and what is refused with a sentence."""

import pytest
import yaml

from fleet.rules.kubeconfig import LONGEST, read_kubeconfig
from tenants.errors import Invalid

GOOD = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "east",
    "contexts": [
        {"name": "east", "context": {"cluster": "e", "user": "console"}},
        {"name": "west", "context": {"cluster": "gone", "user": "gone"}},
    ],
    "clusters": [
        {
            "name": "e",
            "cluster": {"server": "https://10.0.0.1:6443", "certificate-authority-data": "QQ=="},
        }
    ],
    "users": [{"name": "console", "user": {"token": "secret"}}],
}


def changed(cluster=None, user=None, **top):
    document = {**GOOD, **top}
    if cluster is not None:
        document["clusters"] = [{"name": "e", "cluster": cluster}]
    if user is not None:
        document["users"] = [{"name": "console", "user": user}]
    return yaml.safe_dump(document)


def test_it_takes_the_current_context_and_nothing_else():
    found = read_kubeconfig(changed())
    assert found.server == "https://10.0.0.1:6443"
    assert [c["name"] for c in found.document["contexts"]] == ["quartermaster"]
    assert found.document["users"] == [{"name": "u", "user": {"token": "secret"}}]


SERVER = {"server": "https://10.0.0.1"}
REFUSED = {
    "no YAML": ("{", "not YAML"),
    "another document": ("- 1", "not a kubeconfig"),
    "an empty text": ("", "not a kubeconfig"),
    "no current context": (changed(**{"current-context": ""}), "current-context"),
    "a context that is missing": (changed(**{"current-context": "north"}), "'north'"),
    "a cluster that is missing": (changed(**{"current-context": "west"}), "'gone'"),
    "clusters that are no list": (changed(clusters="e"), "list of clusters"),
    "plain HTTP": (changed(cluster={"server": "http://10.0.0.1"}), "https://"),
    "no check of certificates": (
        changed(cluster={**SERVER, "insecure-skip-tls-verify": True}),
        "certificate-authority-data",
    ),
    "a proxy": (changed(cluster={**SERVER, "proxy-url": "http://p"}), "proxy"),
    "a file of the machine": (
        changed(cluster={**SERVER, "certificate-authority": "/etc/shadow"}),
        "kubectl config view",
    ),
    "a command": (changed(user={"exec": {"command": "rm"}}), "runs a command"),
    "a plug-in": (changed(user={"auth-provider": {"name": "gcp"}}), "plug-in"),
    "a password": (changed(user={"username": "root", "password": "x"}), "password"),
    "a token in a file": (changed(user={"tokenFile": "/run/token"}), "tokenFile"),
    "nobody": (changed(user={}), "neither a token"),
    "half a certificate": (changed(user={"client-certificate-data": "QQ=="}), "client-key-data"),
    "a huge text": ("a" * (LONGEST + 1), "at most"),
}


@pytest.mark.parametrize(("text", "want"), REFUSED.values(), ids=REFUSED)
def test_it_refuses(text, want):
    with pytest.raises(Invalid) as refusal:
        read_kubeconfig(text)
    assert want in refusal.value.fields["kubeconfig"]
