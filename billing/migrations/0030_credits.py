"""Credits: granted by four eyes, spent once, their history written once."""

import django.db.models.deletion
from django.db import migrations, models

from tenants.base.rls import AppendOnly, EnableRLS

# As with periods: a rule that only holds for rows in sight is none, so both look at all tenants.
GRANTS = """
CREATE FUNCTION qm_grant_changes() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE scope text := coalesce(current_setting('app.fleet', true), '');
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'credits are never deleted' USING ERRCODE = 'restrict_violation';
    END IF;
    IF TG_OP = 'INSERT' THEN
        IF NEW.state IN ('active', 'expired') THEN
            RAISE EXCEPTION 'a credit begins by waiting' USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF (NEW.tenant_id, NEW.name, NEW.amount, NEW.currency, NEW.paid, NEW.reference, NEW.priority,
            NEW.model, NEW.meter, NEW.expires_at, NEW.why, NEW.asked_by, NEW.asked_at)
        IS DISTINCT FROM (OLD.tenant_id, OLD.name, OLD.amount, OLD.currency, OLD.paid,
            OLD.reference, OLD.priority, OLD.model, OLD.meter, OLD.expires_at, OLD.why,
            OLD.asked_by, OLD.asked_at)
    THEN
        RAISE EXCEPTION 'what was granted never changes' USING ERRCODE = 'restrict_violation';
    END IF;
    PERFORM set_config('app.fleet', 'on', true);
    IF NEW.state <> OLD.state AND NOT (
        OLD.state = 'waiting' AND NEW.state = 'refused'
        OR OLD.state = 'active' AND NEW.state = 'expired'
        OR OLD.state = 'waiting' AND NEW.state = 'active' AND EXISTS (
            SELECT 1 FROM change_request WHERE id = NEW.change_id AND kind = 'credit_grant'
            AND target_id = OLD.id AND state = 'approved')
    ) THEN
        RAISE EXCEPTION 'a credit becomes active by an approved change only'
            USING ERRCODE = 'restrict_violation';
    END IF;
    PERFORM set_config('app.fleet', scope, true);
    RETURN NEW;
END $$;
CREATE TRIGGER granted_stays BEFORE INSERT OR UPDATE OR DELETE ON credit_grant
FOR EACH ROW EXECUTE FUNCTION qm_grant_changes();

CREATE FUNCTION qm_credit_spent_once() RETURNS trigger LANGUAGE plpgsql AS $$
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
            OR a.kind <> 'granted' AND a.amount > 0
    ) THEN
        RAISE EXCEPTION 'a credit is spent once, up to what was granted'
            USING ERRCODE = 'check_violation';
    END IF;
    PERFORM set_config('app.fleet', scope, true);
    RETURN NULL;
END $$;
CREATE TRIGGER spent_once AFTER INSERT ON credit_entry
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION qm_credit_spent_once();
"""
UNDO = """
DROP TRIGGER spent_once ON credit_entry;
DROP FUNCTION qm_credit_spent_once();
DROP TRIGGER granted_stays ON credit_grant;
DROP FUNCTION qm_grant_changes();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0023_deliveries_in_sight"),
        ("tenants", "0002_row_level_security"),
    ]

    operations = [
        migrations.CreateModel(
            name="CreditGrant",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tenant_id", models.BigIntegerField()),
                ("name", models.CharField(max_length=120)),
                ("amount", models.DecimalField(decimal_places=12, max_digits=38)),
                ("currency", models.CharField(max_length=3)),
                ("paid", models.BooleanField()),
                ("reference", models.CharField(blank=True, max_length=64)),
                ("priority", models.PositiveSmallIntegerField()),
                ("model", models.CharField(blank=True, max_length=128)),
                ("meter", models.CharField(blank=True, max_length=32)),
                ("expires_at", models.DateTimeField(null=True)),
                ("why", models.TextField()),
                ("asked_by", models.CharField(max_length=254)),
                ("asked_at", models.DateTimeField()),
                ("state", models.CharField(default="waiting", max_length=8)),
                ("change_id", models.BigIntegerField(null=True)),
                ("decided_by", models.CharField(blank=True, max_length=254)),
            ],
            options={
                "db_table": "credit_grant",
                "indexes": [
                    models.Index(fields=["tenant_id", "-id"], name="credit_grant_tenant"),
                    models.Index(fields=["state", "expires_at"], name="credit_grant_state"),
                ],
            },
        ),
        migrations.CreateModel(
            name="CreditEntry",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tenant_id", models.BigIntegerField()),
                ("kind", models.CharField(max_length=7)),
                ("amount", models.DecimalField(decimal_places=12, max_digits=38)),
                ("at", models.DateTimeField()),
                ("by", models.CharField(max_length=254)),
                (
                    "invoice",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="credit_entries",
                        to="billing.invoice",
                    ),
                ),
                (
                    "line",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="credit_entries",
                        to="billing.invoiceline",
                    ),
                ),
                (
                    "grant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="entries",
                        to="billing.creditgrant",
                    ),
                ),
            ],
            options={
                "db_table": "credit_entry",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("kind", "used"), _negated=True),
                        fields=("grant", "kind"),
                        name="credit_entry_once",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("kind", "used")),
                        fields=("grant", "line"),
                        name="credit_entry_once_a_line",
                    ),
                ],
            },
        ),
        EnableRLS("credit_grant"),
        EnableRLS("credit_entry"),
        AppendOnly("credit_entry"),
        migrations.RunSQL(GRANTS, UNDO),
    ]
