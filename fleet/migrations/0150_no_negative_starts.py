"""Starts that ended before they began, as clocks were skewed: deadlines were learnt from them."""

from django.db import migrations

FORGET = "DELETE FROM start_sample WHERE seconds <= 0"
CLAMP = "UPDATE rollout_pod SET start_seconds = 0 WHERE start_seconds < 0"


class Migration(migrations.Migration):
    dependencies = [("fleet", "0149_hindered_rollouts")]

    operations = [
        migrations.RunSQL(FORGET, migrations.RunSQL.noop),
        migrations.RunSQL(CLAMP, migrations.RunSQL.noop),
    ]
