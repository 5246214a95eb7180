"""Exports into S3-compatible storage: what lies there, what is tried again, and its key."""

import hashlib
import json
from datetime import time, timedelta

import pytest

from billing.actions.deliveries import (
    change_destination,
    create_destination,
    deliver_export,
    renew_secret,
)
from billing.actions.schedules import create_schedule
from billing.drive.deliveries import deliver_due
from billing.drive.exports import run_due
from billing.models import ExportDestination, ExportJob
from billing.queries.exports import open_export
from billing.rules.destinations import Target, fault_of_secret, faults_of_target
from tenants.base.scope import fleet_scope, scope_of
from tenants.errors import Invalid
from tenants.models import AuditEvent
from tests.billing.bucket import ACCESS_KEY, REGION, SECRET_KEY, bucket
from tests.billing.doors import Door, make_token
from tests.billing.factories import NOW, load, make_prices, usage
from tests.billing.test_deliveries import ask, history

GOOD = Target("Archive", "https://s3.example.com/finance", "S3", REGION, ACCESS_KEY)


@pytest.fixture
def store():
    with bucket() as server:
        yield server


@pytest.fixture
def charged(acme, globex, gateway, settings, tmp_path):
    settings.QM_EXPORTS_DIR = tmp_path / "exports"
    settings.QM_ALLOW_PRIVATE_DELIVERY = True
    make_prices()
    load(gateway, usage(acme), usage(globex))


def archive(who, store, **changes):
    given = {"region": REGION, "access_key": ACCESS_KEY}
    secret_key = changes.pop("secret_key", SECRET_KEY)
    target = Target("Archive", store.url, "S3", **given | changes)
    with scope_of(who):
        made, shown = create_destination(who, target, secret_key=secret_key)
    assert shown == "", "the store made it, and who typed it in knows it"
    return made


def put(who, store, **changes):
    job = ask(who, archive(who, store, **changes))
    assert run_due(NOW) == 1
    return job


@pytest.mark.django_db
@pytest.mark.usefixtures("charged")
def test_the_file_lies_in_the_bucket_and_its_manifest_comes_last(fiona, store):
    job = put(fiona, store)
    assert deliver_due(NOW) == 1
    (file, content), (manifest, said) = store.objects.items()
    with scope_of(fiona):
        artifact, data = open_export(fiona, job.pk)
        with data:
            assert content == data.read()
    assert file == f"/finance/usage%20files/{artifact.filename}"
    assert manifest == f"{file}.manifest.json"
    assert json.loads(said)["sha256"] == artifact.sha256 == hashlib.sha256(content).hexdigest()
    told = store.told[file]
    assert (told["content-type"], told["x-amz-meta-export-part"]) == ("text/csv", "file")
    assert told["x-amz-meta-export-sha256"] == artifact.sha256
    assert not [name for name in told if name.startswith("webhook")]
    assert history(fiona, job)[1] == [("file", 200, ""), ("manifest", 200, "")]


@pytest.mark.django_db
@pytest.mark.usefixtures("charged")
def test_a_slow_store_is_tried_again_and_gets_no_manifest_without_its_file(fiona, store):
    job = put(fiona, store)
    store.answers = [(503, "SlowDown")]
    assert deliver_due(NOW) == 0
    assert store.objects == {}
    delivery, tries = history(fiona, job)
    assert (delivery.state, tries[0][:2]) == ("waiting", ("file", 503))
    assert "SlowDown" in tries[0][2]
    assert deliver_due(delivery.look_again) == 1
    assert len(store.objects) == 2


@pytest.mark.django_db
@pytest.mark.usefixtures("charged")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"secret_key": "another secret"}, "SignatureDoesNotMatch"),
        ({"access_key": "AKIAOTHER"}, "InvalidAccessKeyId"),
        ({"region": "us-east-1"}, "AuthorizationHeaderMalformed"),
    ],
)
def test_a_wrong_key_ends_the_delivery_and_says_what_the_store_said(fiona, store, changes, said):
    job = put(fiona, store, **changes)
    assert deliver_due(NOW) == 0
    delivery, _ = history(fiona, job)
    assert delivery.state == "failed"
    assert said in delivery.why


@pytest.mark.django_db
@pytest.mark.usefixtures("charged")
def test_it_is_delivered_again_with_the_right_key(fiona, store):
    job = put(fiona, store, secret_key="mistyped key")
    deliver_due(NOW)
    with scope_of(fiona):
        made = ExportDestination.objects.get()
        expected = made.version
        renew_secret(fiona, made.pk, expected=expected, now=NOW, secret_key=SECRET_KEY)
        deliver_export(fiona, job.pk, now=NOW)
    assert deliver_due(NOW) == 1
    assert len(store.objects) == 2


@pytest.mark.django_db
@pytest.mark.usefixtures("charged")
def test_a_schedule_fills_the_bucket_day_by_day(fiona, store):
    made = archive(fiona, store)
    with scope_of(fiona):
        create_schedule(
            fiona, name="Daily", format="focus-1.2", file_type="parquet", now=NOW,
            local_time=time(2), time_zone="UTC", destination_id=made.pk,
        )  # fmt: skip
    for day in (1, 2):
        assert run_due(NOW + timedelta(days=day)) == 1
        assert deliver_due(NOW + timedelta(days=day)) == 1
    assert len(store.objects) == 4
    with fleet_scope():
        assert ExportJob.objects.count() == 2


@pytest.mark.django_db
@pytest.mark.usefixtures("charged")
def test_the_key_is_kept_encrypted_and_nowhere_else(fiona, store):
    made = archive(fiona, store)
    with fleet_scope():
        row = ExportDestination.objects.get(pk=made.pk)
        kept = str(list(AuditEvent.objects.values_list("after", flat=True)))
    assert SECRET_KEY.encode() not in bytes(row.sealed)
    assert SECRET_KEY not in kept
    assert ACCESS_KEY in kept


@pytest.mark.django_db
@pytest.mark.usefixtures("charged")
def test_a_bucket_stays_one(fiona, store):
    made = archive(fiona, store)
    with scope_of(fiona):
        with pytest.raises(Invalid) as refused:
            change_destination(fiona, made.pk, Target("Other", store.url, "PUT"), expected=1)
        assert set(refused.value.fields) == {"method"}
        with pytest.raises(Invalid, match="secret access key"):
            renew_secret(fiona, made.pk, expected=1, now=NOW)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": " "}, "name"),
        ({"url": "https://s3.example.com/finance?x=1"}, "url"),
        ({"region": ""}, "region"),
        ({"region": "EU West"}, "region"),
        ({"access_key": ""}, "access_key"),
        ({"access_key": "two words"}, "access_key"),
        ({"method": "PATCH"}, "method"),
    ],
)
def test_it_refuses_a_bucket_that_makes_no_sense(changes, field):
    assert faults_of_target(GOOD) == {}
    given = {f: getattr(GOOD, f) for f in ("name", "url", "method", "region", "access_key")}
    assert set(faults_of_target(Target(**given | changes))) == {field}


def test_only_a_bucket_has_a_region_and_a_key_that_is_given():
    other = Target("ERP", "https://erp.example.com", "POST", "eu-central-1", "AKIATEST")
    assert set(faults_of_target(other)) == {"region", "access_key"}
    assert fault_of_secret(other, "") == ""
    assert "leave it empty" in fault_of_secret(other, "12345678")
    assert fault_of_secret(GOOD, "12345678") == ""
    assert "secret access key" in fault_of_secret(GOOD, "1234567")


@pytest.mark.django_db
@pytest.mark.usefixtures("charged")
def test_the_api_takes_a_bucket_and_never_tells_its_key(store):
    finance = Door(make_token("fay", "finance"))
    body = {
        "name": "Archive", "url": store.url, "method": "S3", "region": REGION,
        "access_key": ACCESS_KEY,
    }  # fmt: skip
    refused = finance("post", "export-destinations", body)
    assert refused.status_code == 422
    assert {e["pointer"] for e in refused.json()["errors"]} == {"/secret_key"}
    made = finance("post", "export-destinations", body | {"secret_key": SECRET_KEY})
    assert (made.status_code, made.json()["secret"]) == (201, "")
    path = f"export-destinations/{made.json()['id']}"
    found = finance("get", path)
    assert SECRET_KEY not in found.content.decode()
    assert found.json()["region"] == REGION
    renewed = finance(
        "post", f"{path}/secret", {"secret_key": "another one"}, **{"If-Match": found["ETag"]}
    )
    assert (renewed.status_code, renewed.json()["secret"]) == (200, "")
