"""What the answers of an API server mean: for now, for good, or of the account."""

import json
from types import SimpleNamespace

import pytest
from kubernetes import client

from fleet.clients.errors import Denied, Permanent, Temporary
from fleet.clients.kube import WHOLE, Kube, refusal

CANNOT = (
    'deployments.apps "chat" is forbidden: User "system:serviceaccount:quartermaster:console"'
    ' cannot patch resource "deployments" in API group "apps" in the namespace "models"'
)
ANSWERS = {
    "a token that nobody knows": (401, "Unauthorized", Denied),
    "a missing permission": (403, CANNOT, Denied),
    "roles that are not read yet": (403, f'{CANNOT}: RBAC: role "console" not found', Denied),
    "a server whose admission begins": (
        403, 'pods "chat" is forbidden: not yet ready to handle request', Temporary,
    ),
    "a quota": (403, 'pods "chat" is forbidden: exceeded quota: gpus', Permanent),
    "a policy for pods": (403, 'pods "chat" is forbidden: violates PodSecurity', Permanent),
    "a webhook that says no": (403, 'admission webhook "a" denied the request: no', Permanent),
    "a namespace that ends": (
        403, 'forbidden: unable to create new content in namespace models', Permanent,
    ),
    "what is not valid": (422, "Deployment is invalid", Permanent),
    "too many requests": (429, "slow down", Temporary),
    "a version that is forgotten": (410, "Expired", Temporary),
    "a fault of its own": (500, "failed calling webhook", Temporary),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(ANSWERS))
def test_it_tells(case):
    status, message, kind = ANSWERS[case]
    error = client.ApiException(status=status)
    error.body = json.dumps({"kind": "Status", "message": message})
    found = refusal(error)
    assert (type(found), found.status) == (kind, status)
    assert message in found.message


def test_a_proxys_page_is_told_by_its_status():
    error = client.ApiException(status=502, reason="Bad Gateway")
    error.body = "<html>"
    assert type(refusal(error)) is Temporary


def test_no_nul_comes_out_of_a_cluster():
    """A container may end with any bytes as its last words; no table takes this one, and nothing
    of the whole cluster was written down any more.
    """
    said = {"items": [{"message": "a\0b", "args": ["\\u0000", "\\\0"]}], "metadata": {}}
    kube = Kube(client.ApiClient())
    (found,) = kube.pages(WHOLE, lambda **_: SimpleNamespace(data=json.dumps(said).encode()))
    assert found == {"message": "a\ufffdb", "args": ["\\u0000", "\\\ufffd"]}
    error = client.ApiException(status=403)
    error.body = json.dumps({"message": "denied: \0"})
    assert refusal(error).message.endswith("denied: \ufffd")


def test_between_the_pages_of_a_list_somebody_may_hold_on():
    """A pass over many pods lasted longer than its claim, and two observers took turns in vain."""
    kube, told = Kube(client.ApiClient()), []
    kube.between = lambda: told.append("still at it")
    tokens = iter(["b", "c", ""])

    def listing(**_):
        page = {"items": [{}], "metadata": {"continue": next(tokens)}}
        return SimpleNamespace(data=json.dumps(page).encode())

    assert len(list(kube.pages(WHOLE, listing))) == 3
    assert len(told) == 2
