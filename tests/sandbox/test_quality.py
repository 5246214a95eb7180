"""The audit tells a clean answer from no answer."""

import json

from sandbox.quality.audit import read_report


def report(*packages: dict) -> str:
    return json.dumps({"dependencies": list(packages), "fixes": []})


def test_it_passes_what_was_looked_up_and_found_clean():
    audit = read_report(report({"name": "django", "version": "5.2", "vulns": []}))
    assert (audit.passed, audit.checked, audit.unknown) == (True, 1, ())


def test_it_fails_a_known_flaw_and_names_the_version_that_mends_it():
    flaw = {"id": "PYSEC-1", "fix_versions": ["5.3"]}
    audit = read_report(report({"name": "django", "version": "5.2", "vulns": [flaw]}))
    assert not audit.passed
    assert audit.vulnerable == ("django 5.2: PYSEC-1, fixed in 5.3",)


def test_it_does_not_count_a_package_that_the_index_does_not_know_as_audited():
    audit = read_report(report({"name": "django", "skip_reason": "not found"}))
    assert (audit.checked, audit.unknown) == (0, ("django",))
