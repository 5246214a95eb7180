"""Pictures and sounds of a chat: engines fetch nothing that tenants name, and know no names."""

import pytest

from gateway.errors import Refusal
from gateway.media import check_media
from gateway.normalise import CHAT, normalise
from gateway.snapshots import Routing
from tests.gateway.fleet import chat, make_pool, make_routing, make_service

HOSTS = frozenset({"media.example.com"})
DATA = "data:image/png;base64,iVBORw0KGgo="
PARTS = {
    "a picture": lambda url: {"type": "image_url", "image_url": {"url": url}},
    "a picture of another form": lambda url: {"type": "input_image", "image_url": url},
    "a sound": lambda url: {"type": "audio_url", "audio_url": {"url": url}},
    "a film": lambda url: {"type": "video_url", "video_url": {"url": url}},
    "no type": lambda url: {"image_url": url},
    "a name of its own": lambda url: {"type": "text", "uuid": "x", "image_url": {"url": url}},
}
ELSEWHERE = (
    "http://169.254.169.254/latest/meta-data/",
    "http://localhost:8000/metrics",
    "https://10.0.0.1/",
    "HTTP://MEDIA.EXAMPLE.COM.evil.example/x.png",
    "https://media.example.com@10.0.0.1/x.png",
    "https://media.example.com\\@10.0.0.1/x.png",
    "https://media.example.com\t.evil.example/",
    "https://10.0.0.1#media.example.com",
    "https://media.example.com:80:90/",
    " https://media.example.com/x.png",
    "https:///media.example.com/",
    "https://ｍedia.example.com/x.png",
    "file:///etc/passwd",
    "ftp://media.example.com/x.png",
    "//media.example.com/x.png",
    "media.example.com/x.png",
    "",
)


def messages(*parts):
    return [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, *parts]}]


@pytest.mark.parametrize("kind", PARTS)
def test_an_address_that_nothing_allows_is_refused(kind):
    for url in (*ELSEWHERE, "https://media.example.com/x.png"):
        with pytest.raises(Refusal) as refused:
            normalise(CHAT, chat(messages=messages(PARTS[kind](url))), 500, make_service())
        assert refused.value.status == 400, url
        assert "data:...;base64," in refused.value.message


@pytest.mark.parametrize("url", ELSEWHERE)
def test_a_list_of_hosts_allows_no_other(url):
    with pytest.raises(Refusal, match="media.example.com"):
        check_media(messages(PARTS["a picture"](url)), HOSTS)


@pytest.mark.parametrize(
    "url",
    [
        DATA,
        "DATA:audio/wav;base64,AAAA",
        "https://media.example.com/x.png?size=2#top",
        "http://MEDIA.example.com",
        "https://media.example.com:8443/a/b.png",
    ],
)
def test_what_the_message_holds_and_what_a_host_of_the_list_has_goes_through(url):
    for kind in PARTS.values():
        check_media(messages(kind(url)), HOSTS)


@pytest.mark.parametrize("url", [5, True, ["http://a"], {"a": 1}])
def test_an_address_is_a_text(url):
    part = {"type": "image_url", "image_url": {"url": url}}
    with pytest.raises(Refusal, match="must be a text"):
        check_media(messages(part), HOSTS)


def test_every_message_is_looked_at():
    bad = {"role": "tool", "content": [PARTS["a film"]("http://10.0.0.1/")]}
    with pytest.raises(Refusal):
        check_media([*messages(), bad], HOSTS)


def test_a_tenant_names_nothing_in_the_engines_cache():
    """By a name the engine would give one tenant the picture that another has sent."""
    named = {"type": "image_url", "image_url": {"url": DATA}, "uuid": "logo"}
    of_another = {"type": "image_url", "image_url": None, "uuid": "logo"}
    body = chat(messages=messages(named, of_another))
    sent = normalise(CHAT, body, 500, make_service()).body["messages"]
    assert not any("uuid" in part for message in sent for part in message["content"])


def hosts(*pools, **others):
    routing = make_routing(make_service(*pools, fallbacks=tuple(others)), *others.values())
    return Routing(routing).media_hosts(routing.services["tiny"])


def test_media_comes_from_where_all_releases_that_may_answer_allow_it():
    """An engine without a list fetches from anywhere, so one of those decides for all."""
    old = make_pool("a", "one:1", media_hosts=("a.example.com", "b.example.com"))
    new = make_pool("b", "two:1", media_hosts=("b.example.com",))
    without = make_pool("c", "three:1")
    assert hosts(old) == {"a.example.com", "b.example.com"}
    assert hosts(old, new) == {"b.example.com"}
    assert hosts(old, without) == hosts(without) == hosts() == frozenset()
    assert hosts(old, make_pool("c", "three:1", weight=0)) == set(old.media_hosts)
    assert hosts(old, other=make_service(without, name="other")) == frozenset()
