from django.contrib.postgres.indexes import BrinIndex
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("fleet", "0049_shadow_slots_row_level_security")]

    operations = [
        AddIndexConcurrently("enginesample", BrinIndex(fields=["at"], name="engine_sample_time"))
    ]
