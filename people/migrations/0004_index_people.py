from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from people.models import words_of


def index_people(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """People who are tracked already are found, too."""
    person_word = apps.get_model("people", "PersonWord")
    rows = (
        person_word(person_id=person.pk, word=word)
        for person in apps.get_model("people", "Person").objects.iterator(chunk_size=1000)
        for word in sorted(words_of(person))
    )
    person_word.objects.bulk_create(rows, batch_size=1000)


class Migration(migrations.Migration):
    dependencies = [("people", "0003_keys_and_words")]

    operations = [migrations.RunPython(index_people, migrations.RunPython.noop)]
