"""A credit note gives back to credits what they paid of its lines, and never more."""

import django.db.models.deletion
from django.db import migrations, models

SPENT = """
CREATE OR REPLACE FUNCTION qm_credit_spent_once() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE scope text := coalesce(current_setting('app.fleet', true), '');
BEGIN
    PERFORM set_config('app.fleet', 'on', true);
    -- One transaction after the other adds entries to a grant, so that the sum is of all of them.
    PERFORM 1 FROM credit_grant WHERE id IN (SELECT grant_id FROM added)
        ORDER BY id FOR NO KEY UPDATE;
    IF EXISTS (
        SELECT 1 FROM credit_entry WHERE grant_id IN (SELECT grant_id FROM added)
        GROUP BY grant_id HAVING sum(amount) < 0
    ) OR EXISTS (
        SELECT 1 FROM added a JOIN credit_grant g ON g.id = a.grant_id
        WHERE a.tenant_id <> g.tenant_id OR a.kind = 'granted' AND a.amount <> g.amount
            OR a.kind NOT IN ('granted'%(back)s) AND a.amount > 0
    )%(more)s THEN
        RAISE EXCEPTION 'a credit is spent once, up to what was granted'
            USING ERRCODE = 'check_violation';
    END IF;
    PERFORM set_config('app.fleet', scope, true);
    RETURN NULL;
END $$;
"""
UNDONE = """ OR EXISTS (
        SELECT 1 FROM added a JOIN credit_grant g ON g.id = a.grant_id
        WHERE a.kind = 'undone' AND (a.amount <= 0 OR a.note_id IS NULL OR g.state <> 'active')
    ) OR EXISTS (
        SELECT 1 FROM credit_entry e WHERE e.kind IN ('used', 'undone')
            AND (e.grant_id, e.line_id) IN (SELECT grant_id, line_id FROM added)
        GROUP BY e.grant_id, e.line_id HAVING sum(e.amount) > 0
    )"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0036_alerts_of_token_budgets")]

    operations = [
        migrations.AddField(
            model_name="creditnoteline",
            name="promoted",
            field=models.DecimalField(decimal_places=12, default=0, max_digits=38),
        ),
        migrations.RemoveConstraint(
            model_name="creditnoteline", name="credit_note_line_above_zero"
        ),
        migrations.AddConstraint(
            model_name="creditnoteline",
            constraint=models.CheckConstraint(
                condition=models.Q(amount__gte=0, promoted__gte=0)
                & (models.Q(amount__gt=0) | models.Q(promoted__gt=0)),
                name="credit_note_line_above_zero",
            ),
        ),
        migrations.AddField(
            model_name="creditentry",
            name="note",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="credit_entries",
                to="billing.creditnote",
            ),
        ),
        migrations.RemoveConstraint(model_name="creditentry", name="credit_entry_once"),
        migrations.AddConstraint(
            model_name="creditentry",
            constraint=models.UniqueConstraint(
                condition=models.Q(kind__in=["granted", "expired"]),
                fields=("grant", "kind"),
                name="credit_entry_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="creditentry",
            constraint=models.UniqueConstraint(
                condition=models.Q(kind="undone"),
                fields=("grant", "line", "note"),
                name="credit_entry_undone_once",
            ),
        ),
        migrations.RunSQL(
            SPENT % {"back": ", 'undone'", "more": UNDONE}, SPENT % {"back": "", "more": ""}
        ),
    ]
