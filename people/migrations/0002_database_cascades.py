"""Deleting a person deletes what refers to it, also by a release that does not know all of the tables (MySQL).

SQLite is not used by several releases at once, and would need every table to be copied.
"""

from django.db import migrations

TABLES = ("people_gist", "people_searchterm", "people_visit")


def cascade(apps, schema_editor):
    """Each foreign key is replaced in one statement, so this can be repeated after it was killed."""
    if schema_editor.connection.vendor != "mysql":
        return
    for table in TABLES:
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(
                "SELECT constraint_name FROM information_schema.referential_constraints WHERE constraint_schema = "
                "DATABASE() AND table_name = %s AND referenced_table_name = 'people_person' AND delete_rule <> 'CASCADE'",
                [table],
            )
            names = [row[0] for row in cursor.fetchall()]
        for name in names:
            schema_editor.execute(
                f"ALTER TABLE {table} DROP FOREIGN KEY {name}, ADD CONSTRAINT {name}_cascade "
                "FOREIGN KEY (person_id) REFERENCES people_person (id) ON DELETE CASCADE"
            )


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("people", "0001_initial")]
    operations = [migrations.RunPython(cascade, migrations.RunPython.noop)]
