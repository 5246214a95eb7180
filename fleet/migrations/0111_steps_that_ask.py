from django.db import migrations, models

PHASES = [
    "validating",
    "awaiting_approval",
    "preparing",
    "canary_starting",
    "canary_verifying",
    "shifting",
    "analyzing",
    "awaiting_step_approval",
    "paused",
    "promoting",
    "soaking",
    "aborting",
    "rolling_back",
    "rollback_blocked",
    "succeeded",
    "rolled_back",
    "rejected",
    "expired",
    "superseded",
    "cancelled",
]


class Migration(migrations.Migration):
    dependencies = [("fleet", "0110_one_open_and_one_that_waits")]

    operations = [
        migrations.AddField("rollout", "step_change_id", models.BigIntegerField(null=True)),
        migrations.AlterField(
            "rollout",
            "phase",
            models.CharField(
                choices=[(phase, phase) for phase in PHASES], default="validating", max_length=24
            ),
        ),
        migrations.AlterField(
            "rollout", "resume_phase", models.CharField(blank=True, max_length=24)
        ),
        migrations.AlterField("rolloutevent", "phase", models.CharField(max_length=24)),
    ]
