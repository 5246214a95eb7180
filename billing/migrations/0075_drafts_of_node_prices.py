"""A sheet of node prices is a draft until it has a range; drafts are edited, others never."""

import django.contrib.postgres.fields.ranges
from django.db import migrations, models

EDIT = """
DROP TRIGGER append_only ON gpu_price;
CREATE FUNCTION qm_gpu_price_published() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM gpu_price_sheet
        WHERE id = OLD.sheet_id AND effective IS NULL AND change_id IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a published or proposed sheet of GPU prices never changes'
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER published_never_changes BEFORE UPDATE OR DELETE ON gpu_price
FOR EACH ROW EXECUTE FUNCTION qm_gpu_price_published();
"""
UNDO = """
DROP TRIGGER published_never_changes ON gpu_price;
DROP FUNCTION qm_gpu_price_published();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON gpu_price
FOR EACH STATEMENT EXECUTE FUNCTION qm_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0074_node_prices")]

    operations = [
        migrations.AlterField(
            "gpupricesheet",
            "effective",
            django.contrib.postgres.fields.ranges.DateTimeRangeField(null=True),
        ),
        migrations.AddField("gpupricesheet", "change_id", models.BigIntegerField(null=True)),
        migrations.AddField(
            "gpupricesheet", "version", models.PositiveIntegerField(db_default=1, default=1)
        ),
        migrations.RunSQL(EDIT, UNDO),
    ]
