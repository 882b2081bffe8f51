"""Upgrades of databases with rows: consumers and feed positions for what an earlier release has stored."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

BEFORE = [("people", "0002_database_cascades")]
pytestmark = pytest.mark.django_db(transaction=True)


def migrate(targets: list[tuple[str, str]]) -> Any:
    """Returns the models as they are then."""
    executor = MigrationExecutor(connection)
    executor.migrate(targets)
    executor.loader.build_graph()
    return executor.loader.project_state(targets).apps


@pytest.fixture
def old(db: None) -> Any:
    """The models before consumers; afterwards all migrations are applied again."""
    newest = MigrationExecutor(connection).loader.graph.leaf_nodes()
    yield migrate(BEFORE)
    migrate(newest)


def newest() -> Any:
    return migrate(MigrationExecutor(connection).loader.graph.leaf_nodes())


def create_key(old: Any, name: str, prefix: str) -> None:
    keys = old.get_model("people", "ApiKey").objects
    keys.create(id=f"{prefix}.x", prefix=prefix, hashed_key="x", name=name)


def test_existing_keys_get_consumers_that_have_their_markers(old: Any) -> None:
    person = old.get_model("people", "Person").objects.create(github_username="ada", username_key="ada")
    user = User.objects.create(username="ben")
    visits = old.get_model("people", "Visit").objects
    for name, prefix in (("team", "aaaaaaaa"), ("team", "bbbbbbbb"), ("anonymous", "cccccccc"), ("unused", "dddddddd")):
        create_key(old, name, prefix)
    markers = ["key:aaaaaaaa", "key:bbbbbbbb", "key:cccccccc", f"user:{user.pk}", "anonymous", "key:deleted"]
    for cursor, marker in enumerate(markers):
        visits.create(person=person, consumer=marker, cursor=cursor)

    new = newest()

    names = dict(new.get_model("people", "Consumer").objects.values_list("identifier", "name"))
    assert names == {
        "key:aaaaaaaa": "team",
        "key:bbbbbbbb": "team (key bbbbbbbb)",
        "key:cccccccc": "anonymous (key cccccccc)",
        "key:dddddddd": "unused",
        f"user:{user.pk}": f"ben (staff {user.pk})",
        "anonymous": "anonymous",
    }
    keys = new.get_model("people", "ApiKey").objects.values_list("prefix", "consumer__identifier")
    assert {prefix: identifier.removeprefix("key:") for prefix, identifier in keys} == {
        prefix: prefix for prefix in ("aaaaaaaa", "bbbbbbbb", "cccccccc", "dddddddd")
    }
    kept = new.get_model("people", "Visit").objects.order_by("cursor").values_list("consumer_id", flat=True)
    assert list(kept) == markers


@pytest.mark.parametrize("count", [0, 3])
def test_existing_gists_enter_the_feed_in_the_order_of_their_ids(count: int, old: Any) -> None:
    person = old.get_model("people", "Person").objects.create(github_username="ada", username_key="ada")
    now = person.created_at
    for number in range(count):
        old.get_model("people", "Gist").objects.create(
            person=person, github_id=f"{number}", github_created_at=now, github_updated_at=now
        )

    new = newest()

    rows = new.get_model("people", "Gist").objects.order_by("pk").values_list("pk", "feed_position")
    assert [position for _, position in rows] == [pk for pk, _ in rows]
    assert new.get_model("people", "FeedCounter").objects.get().value == max([pk for pk, _ in rows], default=0)
