import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0065_placements"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="RolloutSequence",
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
                ("bake_seconds", models.PositiveIntegerField()),
                (
                    "plan_kind",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("surge_canary", "surge_canary"),
                            ("blue_green", "blue_green"),
                            ("replace", "replace"),
                            ("recreate", "recreate"),
                        ],
                        max_length=16,
                    ),
                ),
                ("steps", models.JSONField(null=True)),
                ("soak_seconds", models.PositiveIntegerField(null=True)),
                ("reason", models.TextField(blank=True)),
                ("change_id", models.BigIntegerField(null=True)),
                (
                    "wish",
                    models.CharField(
                        choices=[
                            ("run", "run"),
                            ("pause", "pause"),
                            ("end", "end"),
                            ("roll_back", "roll_back"),
                        ],
                        default="run",
                        max_length=10,
                    ),
                ),
                ("wish_by", models.CharField(blank=True, max_length=254)),
                ("wish_why", models.TextField(blank=True)),
                ("wish_at", models.DateTimeField(null=True)),
                (
                    "phase",
                    models.CharField(
                        choices=[
                            ("awaiting_approval", "awaiting_approval"),
                            ("running", "running"),
                            ("paused", "paused"),
                            ("rolling_back", "rolling_back"),
                            ("succeeded", "succeeded"),
                            ("rolled_back", "rolled_back"),
                            ("cancelled", "cancelled"),
                            ("rejected", "rejected"),
                            ("expired", "expired"),
                        ],
                        max_length=20,
                    ),
                ),
                ("phase_since", models.DateTimeField()),
                ("why", models.TextField()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "release",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="sequences",
                        to="fleet.release",
                    ),
                ),
                (
                    "requested_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "service",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="sequences",
                        to="fleet.service",
                    ),
                ),
            ],
            options={
                "db_table": "rollout_sequence",
            },
        ),
        migrations.CreateModel(
            name="SequenceEvent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField(auto_now_add=True)),
                ("cluster", models.CharField(blank=True, max_length=63)),
                ("state", models.CharField(max_length=20)),
                ("actor", models.CharField(blank=True, max_length=254)),
                ("why", models.TextField()),
                (
                    "sequence",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="timeline",
                        to="fleet.rolloutsequence",
                    ),
                ),
            ],
            options={
                "db_table": "sequence_event",
            },
        ),
        migrations.CreateModel(
            name="SequenceStage",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.PositiveSmallIntegerField()),
                ("manifests", models.CharField(blank=True, max_length=64)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "pending"),
                            ("moving", "moving"),
                            ("baking", "baking"),
                            ("done", "done"),
                            ("failed", "failed"),
                            ("left_out", "left_out"),
                            ("going_back", "going_back"),
                            ("back", "back"),
                        ],
                        max_length=12,
                    ),
                ),
                ("since", models.DateTimeField()),
                ("frozen", models.BooleanField(default=False)),
                ("why", models.TextField(blank=True)),
                ("left_out_by", models.CharField(blank=True, max_length=254)),
                ("left_out_why", models.TextField(blank=True)),
                (
                    "back",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="stages_back",
                        to="fleet.rollout",
                    ),
                ),
                (
                    "cluster",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="stages",
                        to="fleet.cluster",
                    ),
                ),
                (
                    "release",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="stages",
                        to="fleet.release",
                    ),
                ),
                (
                    "rollout",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="stages",
                        to="fleet.rollout",
                    ),
                ),
                (
                    "sequence",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="stages",
                        to="fleet.rolloutsequence",
                    ),
                ),
                (
                    "service",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="stages",
                        to="fleet.service",
                    ),
                ),
            ],
            options={
                "db_table": "sequence_stage",
            },
        ),
        migrations.AddConstraint(
            model_name="rolloutsequence",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    ("phase__in", ["cancelled", "expired", "rejected", "rolled_back", "succeeded"]),
                    _negated=True,
                ),
                fields=("service",),
                name="rollout_sequence_one_open",
            ),
        ),
        migrations.AddIndex(
            model_name="sequenceevent",
            index=models.Index(fields=["sequence", "id"], name="sequence_event_order"),
        ),
        migrations.AddConstraint(
            model_name="sequencestage",
            constraint=models.UniqueConstraint(
                fields=("sequence", "number"), name="sequence_stage_number"
            ),
        ),
        migrations.AddConstraint(
            model_name="sequencestage",
            constraint=models.UniqueConstraint(
                fields=("sequence", "service"), name="sequence_stage_service"
            ),
        ),
    ]
