"""`make bench-stream`: how soon a gist is in Pipedrive, what it costs to hear of it, and what a run without work costs.

100,000 people are tracked, and none is due. GitHub's stream shows 4, then 40 gists a minute, every fourth of a tracked
person, 5 to 60 seconds after its publication; every fiftieth (`--late-every`) up to 300 seconds after it. How late
GitHub's entries are is not documented: this is an assumption. Each minute begins one `sync_gists --requested`.

real      the runs, which are functions in this process: their statements on a MySQL-compatible server, their requests
          to the stand-ins in another process, with its latency, and the seconds that they take
virtual   the time between them: before each run, the database's clock of its session is set. A run begins as long after
          the minute as the start of a process takes, which is measured
left out  runs for all people (SYNC_INTERVAL_MINUTES is a day), so that no poll finds what the stream has missed

`python tests/bench/stream.py --minutes 1440` simulates a whole day. With `--overlaps 2 2 2 2 10` the readings go back
behind the newest entry by these minutes, in turn, and not by ten as the product does.
"""

import argparse
import io
import os
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench.remote import remote_standins  # noqa: E402
from tests.bench.sync import GITHUB_LATENCY, PIPEDRIVE_LATENCY, Bench, print_head, print_row  # noqa: E402
from tests.standins import GitHubStandIn, PipedriveStandIn  # noqa: E402

PEOPLE, STRANGERS = 100_000, 10_000
TRACKED_EVERY = 4  # gists in the stream
MAX_LAG = 5  # minutes
FILLED_AFTER = 15  # minutes: as much is in the stream as ever
DAY = 24 * 60  # minutes


@dataclass(frozen=True)
class Publication:
    login: str
    is_tracked: bool
    published_at: datetime
    appears_at: datetime


# --- functions that run in the process of the stand-ins ---
def publish(github: GitHubStandIn, pipedrive: PipedriveStandIn, gists: Sequence[tuple[str, str]]) -> list[str]:
    """Publish gists of these logins, with these times. Returns their ids."""
    del github.stream[:-3000]  # It lists no more.
    return [github.publish(login, created_at=moment, updated_at=moment) for login, moment in gists]


def get_counts(github: GitHubStandIn, pipedrive: PipedriveStandIn) -> "Counter[str]":
    return Counter(github.counts)


# --- our side ---
def prepare(bench: Bench) -> None:
    """A first run, and then people who were polled a moment ago."""
    from people.models import Person

    ids = bench.prepare(PEOPLE + STRANGERS, 0, (GITHUB_LATENCY, PIPEDRIVE_LATENCY))
    bench.run("--trigger", "schedule")
    dates = dict.fromkeys(("attempted_at", "polled_at", "full_read_at"), datetime.now(UTC))
    Person.objects.bulk_create(
        [
            Person(github_username=login, username_key=login, github_id=github_id, state="active", **dates)
            for login, github_id in list(ids.items())[:PEOPLE]
        ],
        batch_size=5000,
    )


def invent(start: datetime, minutes: int, rate: int, late_every: int) -> list[Publication]:
    """What is published in these minutes, in the order in which the stream shows it."""
    rng, found = random.Random(1), []  # noqa: S311  # not used for secrets
    for gist in range(minutes * rate):
        is_tracked, is_late = gist % TRACKED_EVERY == 0, gist // TRACKED_EVERY % late_every == late_every // 2
        number = rng.randrange(PEOPLE) if is_tracked else PEOPLE + rng.randrange(STRANGERS)
        lag = rng.uniform(60, MAX_LAG * 60) if is_late else rng.uniform(5, 60)
        moment = start + timedelta(seconds=rng.randrange(minutes * 60))
        found.append(Publication(f"person-{number}", is_tracked, moment, moment + timedelta(seconds=lag)))
    return sorted(found, key=lambda publication: publication.appears_at)


def run_at(moment: datetime) -> float:
    """A run that begins at this time of the database. Returns its seconds."""
    from django.core.management import call_command
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SET timestamp = %s", [moment.timestamp()])
    began = time.monotonic()
    call_command("sync_gists", "--requested", stdout=io.StringIO())
    return time.monotonic() - began


def simulate(bench: Bench, start: datetime, rate: int, options: argparse.Namespace) -> datetime:
    """Returns the end."""
    from sync import stream

    minutes, overlaps = options.minutes, options.overlaps
    start_seconds = timedelta(seconds=measure(bench, "check")[0])
    waiting, tracked = invent(start, minutes, rate, options.late_every), dict[str, Publication]()
    counts, seconds = [], []
    for number in range(minutes + MAX_LAG + len(overlaps)):  # In the end, every entry was read in each way.
        now = start + timedelta(minutes=number + 1) + start_seconds
        new = [publication for publication in waiting if publication.appears_at <= now]
        waiting = waiting[len(new) :]
        gists = [(publication.login, f"{publication.published_at:%Y-%m-%dT%H:%M:%SZ}") for publication in new]
        ids = bench.remote.call(publish, gists)
        tracked |= {key: publication for key, publication in zip(ids, new, strict=True) if publication.is_tracked}
        stream.OVERLAP = timedelta(minutes=overlaps[number % len(overlaps)])
        seconds.append(run_at(now))
        counts.append(bench.remote.call(get_counts))
    print_row(f"{PEOPLE:,} people, {rate} gists a minute in the stream, {minutes} minutes")
    report_latency(tracked)
    report_requests(counts[FILLED_AFTER - 1 : minutes], rate)
    print_row("- seconds of a run, median / longest", f"{statistics.median(seconds):.2f} / {max(seconds):.2f}")
    return now


def report_latency(published: dict[str, Publication]) -> None:
    from people.models import Gist

    rows = Gist.objects.filter(github_id__in=published, discovery="stream")
    pushed = {github_id: moment for github_id, moment in rows.values_list("github_id", "pushed_at") if moment}
    print_row("- gists of tracked people, found through the stream", f"{len(pushed):,} of {len(published):,}", "all")
    pairs = [(published[github_id], pushed_at) for github_id, pushed_at in pushed.items()]
    latencies = [(pushed_at - publication.published_at).total_seconds() for publication, pushed_at in pairs]
    ours = [(pushed_at - publication.appears_at).total_seconds() for publication, pushed_at in pairs]
    print_row("- from publication to activity, median", f"{statistics.median(latencies):.0f} s")
    print_row("- from publication to activity, 95th percentile", f"{percentile(latencies):.0f} s", "<= 120 s")
    print_row("- from the entry in the stream to the activity, 95th percentile", f"{percentile(ours):.0f} s")


def report_requests(counts: Sequence["Counter[str]"], rate: int) -> None:
    """`counts`: those of GitHub since its beginning, after each minute."""
    requests, per_day = counts[-1] - counts[0], DAY / (len(counts) - 1)
    pages = requests.pop("stream")
    print_row("- requests a day to read the stream", f"{pages * per_day:,.0f}", "<= 2,000" if rate == 4 else "")
    print_row("- requests a day to poll who is hinted at", f"{requests.total() * per_day:,.0f}")


def percentile(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def measure(bench: Bench, *arguments: str) -> tuple[float, float]:
    """Seconds, and CPU seconds, of a process of manage.py."""
    before, began = os.times(), time.monotonic()
    command = [sys.executable, str(ROOT / "manage.py"), *arguments]
    subprocess.run(command, env=bench.environment, stdout=subprocess.DEVNULL, check=True)
    after, seconds = os.times(), time.monotonic() - began
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, cpu


def idle(bench: Bench) -> None:
    """A run that reads the stream, as full as it is with 4 gists a minute, without hints."""
    from django.db.models import F

    from sync.models import StreamState

    moment = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    bench.remote.call(publish, [(f"person-{PEOPLE + number}", moment) for number in range(40)])
    checks, runs, statements = [], [], []
    for _ in range(9):
        StreamState.objects.update(attempted_at=F("attempted_at") - timedelta(minutes=1))
        checks.append(measure(bench, "check")[1])
        before = bench.statements()
        runs.append(measure(bench, "sync_gists", "--requested")[1])
        statements.append(bench.statements() - before)
    cpu, check = statistics.median(runs), statistics.median(checks)
    print_row(f"sync_gists --requested without hints, {PEOPLE:,} people, as a process (median of {len(runs)})")
    print_row("- CPU / that of manage.py check", f"{cpu / check:.2f} ({cpu:.2f} s / {check:.2f} s)", "<= 1.3")
    print_row("- statements", f"{statistics.median(statements):.0f}", "<= 40")


def main(options: argparse.Namespace) -> None:
    print_head()
    with remote_standins() as remote:
        bench = Bench(remote, GITHUB_STREAM="true", SYNC_INTERVAL_MINUTES=str(DAY))
        prepare(bench)
        idle(bench)
        now = datetime.now(UTC).replace(microsecond=0)
        for rate in options.rates:
            now = simulate(bench, now, rate, options)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=int, default=20, help="to simulate, for each rate (%(default)s)")
    parser.add_argument("--rates", type=int, nargs="+", default=[4, 40], help="gists a minute (%(default)s)")
    parser.add_argument("--late-every", type=int, default=50, help="of so many entries, one (%(default)s)")
    parser.add_argument("--overlaps", type=float, nargs="+", default=[10], help="minutes (%(default)s)")
    main(parser.parse_args())
