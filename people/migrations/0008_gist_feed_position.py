from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("people", "0007_visit_consumer")]
    operations = [
        migrations.AddField(
            model_name="gist",
            name="feed_position",
            field=models.PositiveBigIntegerField(
                editable=False,
                help_text="place in the feed of all people; see FeedCounter",
                null=True,
                unique=True,
            ),
        )
    ]
