from django.contrib.postgres.operations import RemoveIndexConcurrently
from django.db import migrations


class Migration(migrations.Migration):
    atomic = False  # an index goes beside writers, and that outside of a transaction
    dependencies = [("billing", "0105_marks_of_rating")]

    operations = [RemoveIndexConcurrently("hourhead", "usage_hour_head_unrated")]
