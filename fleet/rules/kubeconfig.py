"""A kubeconfig as a person pasted it: read, cut down to one context, refused with a sentence.

Commands and file paths in it would run or be read on the console's machine, so only what stands
in the text itself is taken.
"""

from dataclasses import dataclass
from typing import Any

import yaml

from tenants.errors import Invalid

LONGEST = 256 * 1024
FILES = {
    "certificate-authority": "certificate-authority-data",
    "client-certificate": "client-certificate-data",
    "client-key": "client-key-data",
    "tokenFile": "token",
}
RUNS_CODE = {
    "exec": "runs a command to sign in",
    "auth-provider": "signs in through a plug-in that is no longer supported",
}


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    server: str
    document: dict[str, Any]  # one context, one cluster, one user, nothing else


def read_kubeconfig(text: str) -> Kubeconfig:
    """Take the current context of a kubeconfig, or raise `Invalid` saying what is wrong."""
    document = parse(text)
    context = named(document, "contexts", "context", current_context(document))
    cluster = named(document, "clusters", "cluster", str(context.get("cluster", "")))
    user = named(document, "users", "user", str(context.get("user", "")))
    server = check_cluster(cluster)
    check_user(user)
    return Kubeconfig(server, cut_down(cluster, user))


def parse(text: str) -> dict[str, Any]:
    if len(text) > LONGEST:
        refuse(f"It has {len(text):,} characters; at most {LONGEST:,} are read")
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        first = str(error).splitlines()[0]
        raise Invalid(kubeconfig=f"This is not YAML: {first}") from error
    if not isinstance(document, dict) or "clusters" not in document:
        refuse("This is not a kubeconfig: it has no list of clusters")
    return dict(document)


def current_context(document: dict[str, Any]) -> str:
    name = document.get("current-context")
    if not isinstance(name, str) or not name:
        refuse("It has no current-context, so it does not say which cluster is meant")
    return str(name)


def named(document: dict[str, Any], group: str, kind: str, name: str) -> dict[str, Any]:
    entries = document.get(group)
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and entry.get("name") == name:
            found = entry.get(kind)
            return dict(found) if isinstance(found, dict) else {}
    refuse(f"It names the {kind} {name!r}, which is not in its list of {group}")
    raise AssertionError


def check_cluster(cluster: dict[str, Any]) -> str:
    server = cluster.get("server")
    if not isinstance(server, str) or not server.startswith("https://"):
        refuse("The server must begin with https://: the console sends a credential there")
    if cluster.get("insecure-skip-tls-verify"):
        refuse(
            "It switches the check of the server's certificate off (insecure-skip-tls-verify):"
            " give certificate-authority-data instead"
        )
    if cluster.get("proxy-url"):
        refuse("It sends everything through a proxy (proxy-url), which is not supported")
    check_files(cluster)
    return str(server)


def check_user(user: dict[str, Any]) -> None:
    for key, what in RUNS_CODE.items():
        if user.get(key):
            refuse(
                f"It {what} ({key}), and the console runs no commands of others:"
                " give a ServiceAccount's token instead"
            )
    if user.get("username") or user.get("password"):
        refuse("It signs in with a password, which Kubernetes no longer accepts")
    check_files(user)
    if not user.get("token") and not user.get("client-certificate-data"):
        refuse("Its user has neither a token nor a client certificate")
    if user.get("client-certificate-data") and not user.get("client-key-data"):
        refuse("It has a client certificate without its key (client-key-data)")


def check_files(part: dict[str, Any]) -> None:
    for key, instead in FILES.items():
        if part.get(key):
            refuse(
                f"It names a file ({key}: {part[key]}), which is not on the console's machine:"
                f" put its content into {instead} (kubectl config view --raw --flatten does)"
            )


def cut_down(cluster: dict[str, Any], user: dict[str, Any]) -> dict[str, Any]:
    kept = ("server", "certificate-authority-data", "tls-server-name")
    signs = ("token", "client-certificate-data", "client-key-data")
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "quartermaster",
        "contexts": [{"name": "quartermaster", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {k: cluster[k] for k in kept if k in cluster}}],
        "users": [{"name": "u", "user": {k: user[k] for k in signs if k in user}}],
    }


def refuse(sentence: str) -> None:
    raise Invalid(kubeconfig=sentence)
