"""Signature Version 4 against the examples that AWS publishes."""

import hashlib
from datetime import UTC, datetime

import pytest

from billing.clients.sigv4 import Credential, canonical_path, sign_request

EMPTY = hashlib.sha256(b"").hexdigest()
S3 = Credential("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1")
SUITE_SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SUITE = Credential("AKIDEXAMPLE", SUITE_SECRET, "us-east-1", "service")
MAY, AUGUST = datetime(2013, 5, 24, tzinfo=UTC), datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
HOST = {"Host": "examplebucket.s3.amazonaws.com"}


def signature(*request, **more):
    return sign_request(*request, **more)["Authorization"].rpartition("Signature=")[2]


def test_it_signs_the_upload_of_an_object():
    body = hashlib.sha256(b"Welcome to Amazon S3.").hexdigest()
    headers = HOST | {
        "Date": "Fri, 24 May 2013 00:00:00 GMT",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
    }
    added = sign_request("PUT", "/test$file.text", headers, body, credential=S3, now=MAY)
    assert added == {
        "x-amz-date": "20130524T000000Z",
        "x-amz-content-sha256": "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
        "Authorization": "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/"
        "aws4_request,SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class,"
        "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    }


def test_it_signs_the_download_of_a_part():
    headers = HOST | {"Range": "bytes=0-9"}
    found = signature("GET", "/test.txt", headers, EMPTY, credential=S3, now=MAY)
    assert found == "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"


@pytest.mark.parametrize(
    ("method", "headers", "want"),
    [
        ("GET", {}, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", {}, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            "GET",
            {"My-Header1": " value1", "My-Header2": ' "a   b   c"'},
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ),
    ],
)
def test_it_signs_the_requests_of_the_test_suite(method, headers, want):
    given = {"Host": "example.amazonaws.com"} | headers
    assert signature(method, "/", given, EMPTY, credential=SUITE, now=AUGUST) == want


def test_a_path_is_encoded_once():
    assert canonical_path("/a b/c%20d/e~f/ü") == "/a%20b/c%20d/e~f/%C3%BC"
    assert canonical_path("") == "/"
