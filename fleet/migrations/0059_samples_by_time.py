from django.contrib.postgres.indexes import BrinIndex
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("fleet", "0054_versions_that_observers_applied")]

    operations = [
        AddIndexConcurrently("enginesample", BrinIndex(fields=["at"], name="engine_sample_time"))
    ]
