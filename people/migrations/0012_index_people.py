"""Search terms for people who have none, such as rows that were inserted with SQL.

Later ones are found by `manage.py prune`. Can be repeated.
"""

import re

from django.db import migrations
from django.db.models import Exists, OuterRef

BATCH_SIZE = 1000  # people
MAX_TERM_LENGTH = 64


def index_people(apps, schema_editor):
    person_model, term_model = apps.get_model("people", "Person"), apps.get_model("people", "SearchTerm")
    own_terms = term_model.objects.filter(person=OuterRef("pk"))
    missing = person_model.objects.filter(~Exists(own_terms)).order_by("pk").only("github_username", "name", "email")
    last = 0
    while people := list(missing.filter(pk__gt=last)[:BATCH_SIZE]):
        rows = [term_model(person=person, term=term) for person in people for term in sorted(search_terms(person))]
        term_model.objects.bulk_create(rows, batch_size=1000)
        last = people[-1].pk


def search_terms(person):
    """As people.search has it in this release."""
    texts = [person.github_username, person.email, *person.email.split("@"), *person.name.split()]
    parts = [part for text in texts for part in re.split(r"[^\w]+|_", text)]
    return {word.lower()[:MAX_TERM_LENGTH] for word in [*texts, *parts] if word}


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("people", "0011_consumer_cascades")]
    operations = [migrations.RunPython(index_people, migrations.RunPython.noop)]
