from django.db import migrations, models
from django.db.models import Q

FINAL = ["cancelled", "expired", "rejected", "rolled_back", "succeeded", "superseded"]


class Migration(migrations.Migration):
    """The new index is made before the old one goes: no moment without the promise."""

    dependencies = [("fleet", "0109_rollouts_that_supersede")]

    operations = [
        migrations.AddConstraint(
            "rollout",
            models.UniqueConstraint(
                fields=["service"],
                condition=~Q(phase__in=FINAL) & Q(waits=True),
                name="rollout_one_waiting",
            ),
        ),
        migrations.RemoveConstraint("rollout", "rollout_one_open"),
        migrations.AddConstraint(
            "rollout",
            models.UniqueConstraint(
                fields=["service"],
                condition=~Q(phase__in=FINAL) & Q(waits=False),
                name="rollout_one_open",
            ),
        ),
    ]
