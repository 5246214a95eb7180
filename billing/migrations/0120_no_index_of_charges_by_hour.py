from django.contrib.postgres.operations import RemoveIndexConcurrently
from django.db import migrations


class Migration(migrations.Migration):
    atomic = False  # an index goes beside writers, and that outside of a transaction
    dependencies = [("billing", "0119_charges_by_hour_and_tenant")]

    operations = [RemoveIndexConcurrently("charge", "charge_hour")]
