"""Calls of sequences' approvals are those of all approvals.

The table stays for processes of the version before, which still write it.
"""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0141_calls_of_approvals"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[migrations.DeleteModel(name="SequenceCall")]
        ),
    ]
