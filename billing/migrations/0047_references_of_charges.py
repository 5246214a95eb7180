"""Charges are written by the hundred thousand, so their references are checked once a statement.

A foreign key looks up every row by itself, which took longer than all the rest of a charge. What
charges refer to is never deleted, and they are never changed, so a look at what was added holds.
"""

import django.db.models.deletion
from django.db import migrations, models

KEPT = """
CREATE FUNCTION qm_run_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'runs of rating are never deleted' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.id <> OLD.id OR OLD.charges > 0 THEN
        RAISE EXCEPTION 'a run of rating that wrote charges never changes'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER run_stays BEFORE UPDATE OR DELETE ON rating_run
FOR EACH ROW EXECUTE FUNCTION qm_run_stays();

CREATE FUNCTION qm_charge_refers() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE scope text := coalesce(current_setting('app.fleet', true), '');
BEGIN
    PERFORM set_config('app.fleet', 'on', true);
    IF EXISTS (
        SELECT 1 FROM (
            SELECT DISTINCT run_id, book_version_id, correction_period_id FROM added
        ) AS n
        WHERE NOT EXISTS (SELECT 1 FROM rating_run WHERE id = n.run_id)
            OR NOT EXISTS (SELECT 1 FROM price_book_version WHERE id = n.book_version_id)
            OR n.correction_period_id IS NOT NULL AND NOT EXISTS (
                SELECT 1 FROM billing_period WHERE id = n.correction_period_id)
    ) THEN
        RAISE EXCEPTION 'a charge names its run, its prices and its period, and they exist'
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    PERFORM set_config('app.fleet', scope, true);
    RETURN NULL;
END $$;
CREATE TRIGGER refers_to_what_is AFTER INSERT ON charge
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION qm_charge_refers();
"""
UNDO = """
DROP TRIGGER refers_to_what_is ON charge;
DROP FUNCTION qm_charge_refers();
DROP TRIGGER run_stays ON rating_run;
DROP FUNCTION qm_run_stays();
"""


def free(name: str, to: str, **options: object) -> migrations.AlterField:
    field = models.ForeignKey(
        db_constraint=False,
        db_index=False,
        on_delete=django.db.models.deletion.PROTECT,
        to=to,
        **options,
    )
    return migrations.AlterField("charge", name, field)


class Migration(migrations.Migration):
    dependencies = [("billing", "0046_keep_service_hours")]

    operations = [
        free("run", "billing.ratingrun"),
        free("book_version", "billing.pricebookversion", related_name="+"),
        free("correction_period", "billing.billingperiod", related_name="+", null=True),
        migrations.RunSQL(KEPT, UNDO),
    ]
