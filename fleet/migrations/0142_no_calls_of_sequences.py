"""Their approvals' calls are those of all approvals."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0141_calls_of_approvals"),
    ]

    operations = [
        migrations.DeleteModel(name="SequenceCall"),
    ]
