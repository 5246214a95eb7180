"""Which verbs the application's role may use on each table of billing. Every table is named here.

Found by the registry, so that a new table is judged on its first day.
"""

import pytest
from django.apps import apps
from django.db import DatabaseError, connection, transaction

from tenants.base.scope import fleet_scope

TABLES = sorted({m._meta.db_table for m in apps.get_app_config("billing").get_models()})
# Neither UPDATE nor DELETE: a statement is refused though it would find no row.
WRITTEN_ONCE = {
    "allocation", "budget_alert", "charge", "cost_method", "cost_pool", "credit_entry",
    "credit_note", "credit_note_line", "exchange_rate", "export_artifact", "export_attempt",
    "finance_event", "invoice", "invoice_line", "journal_leg", "journal_txn", "other_cost",
    "period_sign_off", "prefix_report", "usage_day_dropped", "usage_estimate_dropped",
    "usage_event", "usage_part_archived", "usage_part_dropped", "work_weight",
}  # fmt: skip
# A trigger looks at each row: what may change of it, and that it is never deleted.
GUARDED = {
    "allocation_run": "attributed_stays",  # the mark of the current one ends, and when looked at
    "billing_period": "closed_stays",
    "credit_grant": "granted_stays",
    "document_series": "up_by_one",
    "gpu_price": "published_never_changes",  # drafts are edited
    "price": "published_never_changes",  # drafts are edited
    "price_book_version": "published_only_ends",
    "rating_run": "run_stays",
    "reconciliation": "found_stays",
    "usage_seen": "seen_stays",  # forgotten once the event itself is too late
}
# Replaced or edited, and why that loses nothing.
OPEN = {
    "alert_settings": "people's settings, audited",
    "billing_account": "people's settings, audited; documents keep their own copy",
    "charge_day": "sums of charges, made anew",
    "charge_release": "sums of charges, made anew",
    "charge_sum": "sums of charges, made anew",
    "charge_total": "sums of charges, made anew",
    "cost_day": "sums of shares, made anew",
    "engine_hour": "counted once; compared, never charged",
    "event_delivery": "a claim, and what the receiver answered",
    "export_delivery": "a claim, and what the receiver answered",
    "export_destination": "people's settings, audited",
    "export_job": "a claim, and how it ended",
    "export_schedule": "people's settings, audited",
    "gateway_hour": "what gateways said they wrote; compared, never charged",
    "gpu_price_sheet": "a range ends when the next begins; lines are kept",
    "gpu_reservation": "its end, audited",
    "ledger_account": "people's settings, audited",
    "prefix_hour": "sums of reports, made anew",
    "price_book": "its name, audited",
    "price_preview": "worked out anew",
    "price_preview_line": "worked out anew",
    "quarantine_decision": "asked for, then decided once, audited",
    "quarantine_item": "what becomes of each event of a decision, audited",
    "rating_mark": "taken by the rating",
    "spend_anomaly": "judged anew",
    "unpriced_usage": "listed anew with each rating",
    "usage_arrival": "folded into sums by the hour",
    "usage_day": "sums of events, made anew",
    "usage_limited_hour": "sums of what was reported; compared, never charged",
    "usage_hour": "sums of events, made anew",
    "usage_hour_head": "state of an hour",
    "usage_hour_mark": "taken by the roll-up",
    "usage_model_day": "sums of events, made anew",
    "usage_quarantine": "decided by people, audited",
    "usage_service_hour": "sums of events, made anew",
    "usage_source_hour": "sums of arrivals",
    "webhook": "people's settings, audited",
}


def test_every_table_is_judged_once():
    judged = [*WRITTEN_ONCE, *GUARDED, *OPEN]
    assert sorted(judged) == TABLES


@pytest.mark.django_db
@pytest.mark.parametrize("table", sorted(WRITTEN_ONCE))
@pytest.mark.parametrize("verb", ["UPDATE", "DELETE"])
def test_the_application_neither_changes_nor_deletes(table, verb):
    column = first_column(table)
    change = f"UPDATE {table} SET {column} = {column}"
    statement = change if verb == "UPDATE" else f"DELETE FROM {table}"
    refuses(f"{statement} WHERE false", "never changed or deleted")


@pytest.mark.django_db
@pytest.mark.parametrize("table", sorted({*WRITTEN_ONCE, *GUARDED}))
def test_the_application_cannot_empty_it_nor_take_its_triggers_away(table):
    refuses(f"TRUNCATE {table} CASCADE", "permission denied")
    refuses(f"ALTER TABLE {table} DISABLE TRIGGER ALL", "must be owner")


@pytest.mark.django_db
@pytest.mark.parametrize(("table", "trigger"), sorted(GUARDED.items()))
def test_a_trigger_looks_at_each_row(table, trigger):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgtype, tgenabled FROM pg_trigger WHERE tgrelid = %s::regclass AND tgname = %s",
            [table, trigger],
        )
        ((kind, enabled),) = cursor.fetchall()
    row, before, delete, update = 1, 2, 8, 16
    assert kind & (row | before | delete | update) == row | before | delete | update
    assert enabled == "O"


@pytest.mark.django_db
def test_the_application_cannot_look_past_triggers():
    refuses("SET session_replication_role = replica", "permission denied")


def first_column(table):
    model = next(
        m for m in apps.get_app_config("billing").get_models() if m._meta.db_table == table
    )
    return model._meta.concrete_fields[-1].column


def refuses(statement, said):
    with (
        fleet_scope(),
        pytest.raises(DatabaseError, match=said),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
