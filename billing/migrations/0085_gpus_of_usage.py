"""Usage knows its GPUs and whose they are. An older worker writes neither, which the key allows."""

from django.db import migrations, models

BEFORE = "tenant_id, hour, application_id, model, service_id, traffic_class, outcome, release"
MAKE = f"""
CREATE UNIQUE INDEX CONCURRENTLY usage_hour_of_gpus ON usage_hour ({BEFORE}, hosted, gpu_product);
"""
# Quick: the index is there already.
SWAP = """
ALTER TABLE usage_hour ADD CONSTRAINT usage_hour_of_gpus UNIQUE USING INDEX usage_hour_of_gpus;
ALTER TABLE usage_hour DROP CONSTRAINT usage_hour_of_release;
"""
BACK = f"""
ALTER TABLE usage_hour ADD CONSTRAINT usage_hour_of_release UNIQUE ({BEFORE});
ALTER TABLE usage_hour DROP CONSTRAINT usage_hour_of_gpus;
"""
FIELDS = (*BEFORE.split(", "), "hosted", "gpu_product")


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("billing", "0083_decisions_about_quarantine")]

    operations = [
        migrations.AddField("usageevent", "gpus", models.IntegerField(db_default=1, default=1)),
        migrations.AddField(
            "usageevent",
            "gpu_product",
            models.CharField(db_default="", default="", max_length=120),
        ),
        migrations.AddField(
            "usageevent", "hosted", models.CharField(db_default="", default="", max_length=120)
        ),
        migrations.AddField("usagehour", "hosted", models.CharField(db_default="", max_length=120)),
        migrations.AddField(
            "usagehour", "gpu_product", models.CharField(db_default="", max_length=120)
        ),
        migrations.RunSQL(MAKE, migrations.RunSQL.noop),
        migrations.RunSQL(
            SWAP,
            BACK,
            state_operations=[
                migrations.RemoveConstraint("usagehour", "usage_hour_of_release"),
                migrations.AddConstraint(
                    "usagehour",
                    models.UniqueConstraint(fields=FIELDS, name="usage_hour_of_gpus"),
                ),
            ],
        ),
    ]
