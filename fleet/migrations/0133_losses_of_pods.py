import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0132_drills_without_a_rollout"),
    ]

    operations = [
        migrations.CreateModel(
            name="PodLoss",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("look_again", models.DateTimeField(db_index=True, null=True)),
                ("claim", models.UUIDField(editable=False, null=True)),
                ("claim_until", models.DateTimeField(editable=False, null=True)),
                ("fence", models.BigIntegerField(default=0, editable=False)),
                ("failures", models.PositiveSmallIntegerField(default=0)),
                ("failure", models.TextField(blank=True)),
                ("change_id", models.BigIntegerField(null=True)),
                ("consent", models.BooleanField()),
                (
                    "phase",
                    models.CharField(
                        choices=[
                            ("awaiting_approval", "awaiting_approval"),
                            ("choosing", "choosing"),
                            ("killing", "killing"),
                            ("watching", "watching"),
                            ("ended", "ended"),
                            ("cancelled", "cancelled"),
                        ],
                        max_length=20,
                    ),
                ),
                ("phase_since", models.DateTimeField()),
                ("why", models.TextField()),
                ("timeline", models.JSONField(default=list)),
                ("uid", models.CharField(blank=True, max_length=36)),
                ("pod", models.CharField(blank=True, max_length=253)),
                ("node", models.CharField(blank=True, max_length=253)),
                ("gpus", models.PositiveIntegerField(default=0)),
                ("before", models.PositiveIntegerField(default=0)),
                ("least", models.PositiveIntegerField(null=True)),
                ("killed_at", models.DateTimeField(null=True)),
                ("out_at", models.DateTimeField(null=True)),
                ("replaced_by", models.CharField(blank=True, max_length=253)),
                ("replaced_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "cluster",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="fleet.cluster",
                    ),
                ),
                (
                    "drill",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="loss",
                        to="fleet.drill",
                    ),
                ),
                (
                    "release",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="fleet.release",
                    ),
                ),
                (
                    "service",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="losses",
                        to="fleet.service",
                    ),
                ),
            ],
            options={
                "db_table": "pod_loss",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("ended_at", None)),
                        fields=("service",),
                        name="pod_loss_one_open",
                    )
                ],
            },
        ),
    ]
