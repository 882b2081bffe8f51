"""`make bench-sync`: how fast and how cheap the job is, as ratios measured side by side in one run.

floor      computed from latency, concurrency and the APIs' limits: no client can be faster
bare       a plain `requests` thread pool that does the same requests and stores nothing
sequential one request after the other, as the predecessor did (measured on a part and scaled)
ours       `manage.py sync_gists` as a process; CPU and statements minus those of a run without due people

The stand-ins run in a process of their own on the same machine; the database is a MySQL-compatible server.
`python tests/bench/sync.py CASE ...` runs some of the cases.
"""

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench.remote import GITHUB_TOKEN, PIPEDRIVE_TOKEN, Remote, remote_standins  # noqa: E402
from tests.standins import GitHubStandIn, PipedriveStandIn  # noqa: E402

GITHUB_LATENCY, PIPEDRIVE_LATENCY = 0.100, 0.150  # seconds
DATABASE = "bench_sync"
MAX_RUN_TIME = timedelta(seconds=55)  # A time further in the future counts as old.


# --- functions that run in the process of the stand-ins ---
def reset(github: GitHubStandIn, pipedrive: PipedriveStandIn, latencies: tuple[float, float]) -> None:
    """Empty stand-ins with these latencies."""
    github.accounts.clear()
    github._by_login.clear()
    github.stream.clear()
    pipedrive.persons.clear()
    pipedrive.activities.clear()
    pipedrive.limits.clear()
    github.used = {True: 0, False: 0}
    github.counts.clear()
    pipedrive.counts.clear()
    pipedrive.rate_limited_count = 0
    github.latency, pipedrive.latency = latencies


def add_accounts(github: GitHubStandIn, pipedrive: PipedriveStandIn, people: int, gists: int) -> dict[str, int]:
    for number in range(people):
        account = github.add_account(f"person-{number}")
        for _ in range(gists):
            github.publish(account.login, "Notes")
    return {account.login: account.id for account in github.accounts.values()}


def get_etags(github: GitHubStandIn, pipedrive: PipedriveStandIn) -> dict[str, str]:
    return {account.login: github.etag(account, GITHUB_TOKEN) for account in github.accounts.values()}


def add_persons(github: GitHubStandIn, pipedrive: PipedriveStandIn, people: int) -> list[int]:
    return [pipedrive.add_person(f"@person-{number}") for number in range(people)]


def set_limits(github: GitHubStandIn, pipedrive: PipedriveStandIn, general: int, search: int) -> None:
    pipedrive.limits.update({"general": general, "search": search})


def set_hold(github: GitHubStandIn, pipedrive: PipedriveStandIn, holds: bool) -> None:
    github.hold.clear() if holds else github.hold.set()


def get_stats(github: GitHubStandIn, pipedrive: PipedriveStandIn) -> dict[str, Any]:
    arrivals = [row["arrived_at"] for row in pipedrive.activities.values()]
    return {
        "paid": github.used[True],
        "polls": github.counts["gists"],
        "activities": len(pipedrive.activities),
        "gists": len(set(pipedrive.gist_ids())),
        "rate_limited": pipedrive.rate_limited_count,
        "push_seconds": max(arrivals) - min(arrivals) if arrivals else 0.0,
        "searches": pipedrive.counts["search_persons"],
        "pipedrive_requests": pipedrive.counts.total(),
        "counts": dict(pipedrive.counts),
    }


# --- our side ---
@dataclass(frozen=True)
class Measured:
    """One process of sync_gists: seconds of its run, CPU seconds, peak memory in MB, its summary."""

    seconds: float
    cpu: float
    memory: float
    summary: dict[str, Any]


class Bench:
    def __init__(self, remote: Remote, **variables: str) -> None:
        self.remote = remote
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.process_settings",
            "PYTHONWARNINGS": "ignore",
            "DATABASE_NAME": DATABASE,
            "GITHUB_API_URL": remote.github_url,
            "GITHUB_TOKEN": GITHUB_TOKEN,
            "PIPEDRIVE_API_URL": remote.pipedrive_url,
            "PIPEDRIVE_TOKEN": PIPEDRIVE_TOKEN,
            "TEST_SETTLE_SECONDS": "120",
            "TEST_LEASE_SECONDS": "120",
            "GITHUB_STREAM": "false",  # Reading it is a paid request; tests/bench/stream.py measures it.
            **variables,
        }
        os.environ.update(self.environment)
        self._create_database()
        import django

        django.setup()

    def _create_database(self) -> None:
        import MySQLdb

        server = MySQLdb.connect(
            host=os.environ["DATABASE_HOST"],
            port=int(os.environ["DATABASE_PORT"]),
            user=os.environ["DATABASE_USERNAME"],
            password=os.environ["DATABASE_PASSWORD"],
        )
        self._cursor = server.cursor()
        self._cursor.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
        self._cursor.execute(f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")
        subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), "migrate", "--verbosity", "0"], env=self.environment, check=True
        )

    def statements(self) -> int:
        """Statements that the server has executed so far, those of transactions included."""
        self._cursor.execute("SHOW GLOBAL STATUS LIKE 'Questions'")
        return int(self._cursor.fetchone()[1])

    def prepare(self, people: int, gists: int, latencies: tuple[float, float] = (0.0, 0.0)) -> dict[str, int]:
        """Empty stand-ins and database, then that many accounts. Returns their ids by login."""
        from people.models import Gist, Person
        from sync.models import ApiState, SyncRun

        for model in (Gist, Person, SyncRun, ApiState):
            model.objects.all().delete()
        self.remote.call(reset, latencies)
        return dict(self.remote.call(add_accounts, people, gists))

    @staticmethod
    def _postpone_reads() -> None:
        """No weekly full read and no profile check is due while the next run goes on."""
        from people.models import Person

        soon = datetime.now(UTC) + MAX_RUN_TIME
        Person.objects.exclude(full_read_at=None).update(full_read_at=soon)

    def track(self, ids: dict[str, int], **fields: Any) -> None:
        from people.models import Person

        rows = [Person(github_username=login, username_key=login, **fields) for login in ids]
        Person.objects.bulk_create(rows, batch_size=5000)

    def track_polled(self, ids: dict[str, int]) -> dict[str, str]:
        """People who were polled a moment ago, with current ETags. Returns the ETags by login."""
        from people.models import Person
        from sync.clients.github import GitHubClient

        etags: dict[str, str] = self.remote.call(get_etags)
        now, scope = datetime.now(UTC), GitHubClient(self.remote.github_url, GITHUB_TOKEN).etag_scope
        common = {"etag_scope": scope, "state": "active", "backfill": "all"}
        dates = dict.fromkeys(
            ("attempted_at", "polled_at", "full_read_at"),
            now,
        )
        rows = [
            Person(github_username=login, username_key=login, github_id=ids[login], etag=etag, **common, **dates)
            for login, etag in etags.items()
        ]
        Person.objects.bulk_create(rows, batch_size=5000)
        return etags

    def start(self, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
        self._postpone_reads()
        command = [sys.executable, str(ROOT / "manage.py"), "sync_gists", "--json", *arguments]
        return subprocess.Popen(
            command, env={**self.environment, **variables}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, *arguments: str, **variables: str) -> Measured:
        return self.finish(self.start(*arguments, **variables))

    @staticmethod
    def finish(process: "subprocess.Popen[str]") -> Measured:
        assert process.stdout
        assert process.stderr
        memory, done = 0.0, 0
        while not done:
            memory = max(memory, peak_memory(process.pid))
            done, status, usage = os.wait4(process.pid, os.WNOHANG)
            time.sleep(0 if done else 0.02)
        output, errors = process.stdout.read(), process.stderr.read()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"sync_gists ended with {process.returncode}:\n{output}{errors}")
        summary = json.loads(output)
        cpu = usage.ru_utime + usage.ru_stime
        return Measured(summary["seconds"], cpu, memory, summary)

    def idle(self, *arguments: str) -> tuple[float, int]:
        """CPU seconds and statements of a run without due people."""
        from people.models import Person

        Person.objects.update(state="paused")
        before = self.statements()
        cpu = statistics.median(self.run(*arguments).cpu for _ in range(3))
        statements = (self.statements() - before) // 3
        Person.objects.update(state="active")
        return cpu, statements

    def bare(self, etags: dict[str, str], concurrency: int) -> dict[str, Any]:
        command = [sys.executable, "-m", "tests.bench.bare_client", self.remote.github_url, GITHUB_TOKEN]
        done = subprocess.run(
            [*command, str(concurrency)],
            input=json.dumps(etags),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        result: dict[str, Any] = json.loads(done.stdout)
        assert result["statuses"] == [304], result
        return result


def capacity(bench: Bench) -> None:
    etags = bench.track_polled(bench.prepare(5000, 0))
    result = bench.bare(etags, 32)
    print_row("stand-in alone, no latency, 32 connections", f"{5000 / result['wall']:.0f} requests a second")


def poll(bench: Bench, people: int = 5000, concurrency: int = 32) -> None:
    etags = bench.track_polled(bench.prepare(people, 0, (GITHUB_LATENCY, PIPEDRIVE_LATENCY)))
    floor = people / concurrency * GITHUB_LATENCY
    idle_cpu, idle_statements = bench.idle("--concurrency", str(concurrency))
    walls, cpus, bare_walls, bare_cpus = [], [], [], []
    for _ in range(3):
        bare = bench.bare(etags, concurrency)
        before, paid = bench.statements(), bench.remote.call(get_stats)["paid"]
        ours = bench.run("--concurrency", str(concurrency))
        statements = bench.statements() - before - idle_statements
        assert ours.summary["counts"]["people_unchanged"] == people, ours.summary
        assert bench.remote.call(get_stats)["paid"] == paid
        walls.append(ours.seconds)
        cpus.append(ours.cpu - idle_cpu)
        bare_walls.append(bare["wall"])
        bare_cpus.append(bare["cpu"])
    wall, cpu = statistics.median(walls), statistics.median(cpus)
    sample = dict(list(etags.items())[:100])
    sequential = bench.bare(sample, 1)["wall"] * people / len(sample)
    print_row(f"poll {people} unchanged people, {concurrency} at once")
    print_row("- time / floor", f"{wall / floor:.2f}", "<= 1.15")
    print_row("- bare client / floor", f"{statistics.median(bare_walls) / floor:.2f}")
    print_row("- sequential / ours", f"{sequential / wall:.1f}")
    print_row("- CPU / bare client's", f"{cpu / statistics.median(bare_cpus):.2f}", "<= 1.25")
    print_row("- CPU a person", f"{cpu / people * 1000:.2f} ms")
    print_row("- statements a person", f"{statements / people:.3f}", "<= 0.10")
    print_row("- paid requests", "0", "0")


def first_sync(bench: Bench, people: int = 100, gists: int = 5, concurrency: int = 8) -> None:
    for is_linked in (False, True):
        ids = bench.prepare(people, gists, (GITHUB_LATENCY, PIPEDRIVE_LATENCY))
        idle_cpu, idle_statements = bench.idle("--concurrency", str(concurrency))
        if is_linked:
            from people.models import Person

            bench.track(ids)
            for person, pipedrive_id in zip(
                Person.objects.order_by("id"), bench.remote.call(add_persons, people), strict=True
            ):
                Person.objects.filter(pk=person.pk).update(
                    pipedrive_id=pipedrive_id, pipedrive_matched_at=datetime.now(UTC)
                )
        else:
            bench.track(ids)
        before = bench.statements()
        ours = bench.run("--concurrency", str(concurrency))
        statements = bench.statements() - before - idle_statements
        stats = bench.remote.call(get_stats)
        assert stats["gists"] == stats["activities"] == people * gists, stats
        requests_floor = stats["pipedrive_requests"] * PIPEDRIVE_LATENCY / concurrency
        search_floor = (stats["searches"] / 10 - 1) * 2  # 10 searches in 2 s; the first ten need no wait
        floor = max(requests_floor, search_floor, people * 2 * GITHUB_LATENCY / concurrency)
        kind = "Pipedrive persons given" if is_linked else "new Pipedrive persons"
        print_row(f"first sync, {people} people x {gists} gists, {concurrency} at once, {kind}")
        print_row("- time / floor (the slower API alone)", f"{ours.seconds / floor:.2f}", "<= 1.25")
        print_row("- time / floor without the search limit", f"{ours.seconds / requests_floor:.2f}")
        print_row("- CPU a gist", f"{(ours.cpu - idle_cpu) / people / gists * 1000:.2f} ms", "<= 5 ms")
        print_row("- statements a person", f"{statements / people:.1f}", "<= 20")
        tokens = f"{overhead_tokens(stats, people):.1f}"
        print_row("- tokens a person beyond activities and creation", tokens, "<= 10")


def overhead_tokens(stats: dict[str, Any], people: int) -> float:
    """API tokens for each person, without those that creating it (5) and its activities (5 each) costs."""
    reads = {name: count for name, count in stats["counts"].items() if not name.startswith("create")}
    costs = {"search_persons": 20, "search_items": 20, "activity_types": 20, "get_person": 1, "get_activity": 1}
    return sum(count * costs.get(name, 10) for name, count in reads.items()) / people


def store(bench: Bench, people: int = 80, gists: int = 100) -> None:
    cpus = []
    for _ in range(3):
        ids = bench.prepare(people, gists)
        idle_cpu, _ = bench.idle()
        bench.track(ids, backfill="none")
        ours = bench.run(BACKFILL="none")
        assert ours.summary["counts"]["gists_new"] == people * gists, ours.summary
        cpus.append((ours.cpu - idle_cpu) / people / gists * 1000)
    print_row(f"store {people * gists} new gists, no push")
    print_row("- CPU a gist", f"{statistics.median(cpus):.2f} ms", "<= 0.35 ms")


def push(bench: Bench, people: int = 100, gists: int = 10) -> None:
    from people.models import Gist, Person

    ids = bench.prepare(people, gists, (0.0, PIPEDRIVE_LATENCY))
    bench.track(ids, backfill="none")
    bench.run()
    for person, pipedrive_id in zip(Person.objects.order_by("id"), bench.remote.call(add_persons, people), strict=True):
        now = datetime.now(UTC)
        linked = {"pipedrive_id": pipedrive_id, "pipedrive_matched_at": now, "pipedrive_confirmed_at": now}
        Person.objects.filter(pk=person.pk).update(**linked)
    Gist.objects.all().push_again()
    bench.remote.call(set_limits, 20, 10)
    bench.run(PIPEDRIVE_GITHUB_FIELD="none")  # All requests are activities.
    stats = bench.remote.call(get_stats)
    assert stats["gists"] == stats["activities"] == people * gists, stats
    rate = (people * gists - 20) / stats["push_seconds"]  # The first window is full at once.
    print_row(f"push {people * gists} gists at 20 requests per 2 s")
    print_row("- part of the allowed rate", f"{rate / 10:.1%}", ">= 95%")
    print_row("- responses with 429", str(stats["rate_limited"]), "0")


def scale(bench: Bench) -> None:
    results = {}
    for people in (1_000, 20_000, 100_000):
        bench.track_polled(bench.prepare(people, 0))
        idle_cpu, _ = bench.idle()
        runs = [bench.run() for _ in range(5 if people < 10_000 else 1)]
        assert all(run.summary["counts"]["people_unchanged"] == people for run in runs)
        cpu_seconds = statistics.median(run.cpu for run in runs) - idle_cpu
        results[people] = (max(run.memory for run in runs), cpu_seconds / people * 1000)
    memory, cpu = zip(*results.values(), strict=True)
    print_row("1,000 / 20,000 / 100,000 unchanged people, no latency, 8 at once")
    print_row("- peak memory", " / ".join(f"{value:.1f} MB" for value in memory))
    print_row("- largest / smallest memory", f"{max(memory) / min(memory):.3f}", "<= 1.05")
    print_row("- CPU a person", " / ".join(f"{value:.2f} ms" for value in cpu))
    print_row("- largest / smallest CPU", f"{max(cpu) / min(cpu):.2f}", "<= 1.15")


def budget(bench: Bench) -> None:
    from tests.bench.budget import simulate_day

    for line in simulate_day(people=150_000, changing=0.05):
        print_row(*line)


def peak_memory(pid: int) -> float:
    """MB so far. The peak in getrusage() would include this process, which started the other one."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def print_row(case: str, value: str = "", limit: str = "") -> None:
    print(f"| {case} | {value} | {limit} |", flush=True)


CASES: dict[str, Callable[[Bench], None]] = {
    "capacity": capacity,
    "poll": poll,
    "first_sync": first_sync,
    "store": store,
    "push": push,
    "scale": scale,
    "budget": budget,
}


def print_head() -> None:
    machine = f"{os.cpu_count()} CPUs, {platform.machine()}, Python {platform.python_version()}"
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine}\n")
    print("| case | measured | must be |\n| --- | --- | --- |", flush=True)


def main(names: list[str]) -> None:
    print_head()
    with remote_standins() as remote:
        bench = Bench(remote)
        for name in names or CASES:
            CASES[name](bench)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    main(sys.argv[1:])
