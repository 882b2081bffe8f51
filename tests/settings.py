"""Settings of the tests: the defaults, with the database of the environment."""

import os

from gisttracker.config.environment import GENERATED_KEY, VARIABLES

# An empty variable counts as not set, and overrides the value of a developer's .env file.
for variable in VARIABLES:
    if not variable.name.startswith("DATABASE_"):
        os.environ[variable.name] = ""
        os.environ.pop(f"{variable.name}_FILE", None)
    os.environ.setdefault(variable.name, "")

MANY = "1000000"
os.environ.update(
    API_AUTH="none", REQUIRE_HTTPS="false", API_REQUESTS_PER_MINUTE=MANY, ANONYMOUS_REQUESTS_PER_MINUTE=MANY
)

from gisttracker.config.settings import *  # noqa: E402, F403
from gisttracker.config.settings import DATABASES  # noqa: E402

os.environ.pop(GENERATED_KEY, None)  # so that processes that the tests start do not inherit it

DATABASES["default"].setdefault("TEST", {})["NAME"] = os.environ.get("TEST_DATABASE_NAME") or None
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # fast; the tests hash no real passwords
