from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("people", "0008_gist_feed_position")]
    operations = [
        migrations.CreateModel(
            name="FeedCounter",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("value", models.PositiveBigIntegerField(default=0)),
            ],
        )
    ]
