"""Settings of processes that tests start: the service's own, with shorter times and without a rate limit of ours.

TEST_SETTLE_SECONDS and TEST_LEASE_SECONDS replace the constants; TEST_DATABASE_NAME is not needed, because a test gives
the name of its own database.
"""

import os

from gisttracker.config.settings import *  # noqa: F403

GITHUB_REQUESTS_PER_MINUTE = 1_000_000
SETTLE_SECONDS = int(os.environ.get("TEST_SETTLE_SECONDS", "0"))
LEASE_SECONDS = int(os.environ.get("TEST_LEASE_SECONDS", "30"))
