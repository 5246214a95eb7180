from django.db import migrations, models

# An older worker that told one of them between both writes: it is told once more at the most.
COPY = """
INSERT INTO approval_call (change_id, kind, called_at, ended_at)
SELECT s.change_id, c.kind, c.called_at, c.ended_at
FROM sequence_call c JOIN rollout_sequence s ON s.id = c.sequence_id
WHERE s.change_id IS NOT NULL ON CONFLICT DO NOTHING
"""


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0140_words_of_prefetched_weights"),
    ]

    operations = [
        migrations.CreateModel(
            name="ApprovalCall",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("change_id", models.BigIntegerField()),
                ("kind", models.CharField(max_length=20)),
                ("called_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "approval_call",
                "constraints": [
                    models.UniqueConstraint(fields=("change_id", "kind"), name="approval_call_once")
                ],
            },
        ),
        migrations.RunSQL(COPY, migrations.RunSQL.noop),
    ]
