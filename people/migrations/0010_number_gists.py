"""The stored gists enter the feed in the order of their ids.

Gists that the previous release stores meanwhile have larger ids, and are numbered by the next run. Can be repeated.
"""

from django.db import migrations
from django.db.models import F, Max

BATCH_SIZE = 10_000  # ids in one statement, so that no lock is kept for long


def number_gists(apps, schema_editor):
    gists = apps.get_model("people", "Gist").objects
    newest = gists.aggregate(newest=Max("pk"))["newest"] or 0
    counter, _ = apps.get_model("people", "FeedCounter").objects.get_or_create(pk=1, defaults={"value": newest})
    for start in range(0, counter.value, BATCH_SIZE):
        end = min(start + BATCH_SIZE, counter.value)
        gists.filter(pk__gt=start, pk__lte=end, feed_position=None).update(feed_position=F("pk"))


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("people", "0009_feedcounter")]
    operations = [migrations.RunPython(number_gists, migrations.RunPython.noop)]
