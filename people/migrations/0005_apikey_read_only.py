from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("people", "0004_apikey_consumer")]
    operations = [
        migrations.AlterField(
            model_name="apikey",
            name="read_only",
            field=models.BooleanField(
                default=False, help_text="The key may only read (which also moves the consumer's markers)."
            ),
        )
    ]
