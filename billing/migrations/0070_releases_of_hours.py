"""Hours know the release that answered. An older worker writes none, which the new key allows."""

from django.db import migrations, models

KEY = "tenant_id, hour, application_id, model, service_id, traffic_class, outcome"
MAKE = f"""
CREATE UNIQUE INDEX CONCURRENTLY usage_hour_of_release ON usage_hour ({KEY}, release);
"""
# Quick: the index is there already.
SWAP = """
ALTER TABLE usage_hour ADD CONSTRAINT usage_hour_of_release UNIQUE USING INDEX usage_hour_of_release;
ALTER TABLE usage_hour DROP CONSTRAINT usage_hour_key;
"""
BACK = f"""
ALTER TABLE usage_hour ADD CONSTRAINT usage_hour_key UNIQUE ({KEY});
ALTER TABLE usage_hour DROP CONSTRAINT usage_hour_of_release;
"""


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("billing", "0069_keep_model_days")]

    operations = [
        migrations.AddField("usagehour", "release", models.CharField(db_default="", max_length=32)),
        migrations.RunSQL(MAKE, migrations.RunSQL.noop),
        migrations.RunSQL(
            SWAP,
            BACK,
            state_operations=[
                migrations.RemoveConstraint("usagehour", "usage_hour_key"),
                migrations.AddConstraint(
                    "usagehour",
                    models.UniqueConstraint(
                        fields=(
                            "tenant_id",
                            "hour",
                            "application_id",
                            "model",
                            "service_id",
                            "traffic_class",
                            "outcome",
                            "release",
                        ),
                        name="usage_hour_of_release",
                    ),
                ),
            ],
        ),
    ]
