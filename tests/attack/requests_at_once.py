"""What the load of `make attack` sends. It runs in a process of its own, so that it does not slow the measurement."""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

MEGABYTE = 1 << 20
Answers = Counter[str]


def main(name: str, url: str, key: str, seconds: float) -> None:
    """Print how many responses had which status, as JSON."""
    threads, attack = ATTACKS[name]
    deadline = time.monotonic() + seconds
    with ThreadPoolExecutor(threads) as pool:
        counts = pool.map(lambda _: repeat(attack, url, key, deadline), range(threads))
        print(json.dumps(sum(counts, Counter())))


def repeat(attack: Callable[[requests.Session, str], Iterable[Any]], url: str, key: str, deadline: float) -> Answers:
    statuses: Answers = Counter()
    with requests.Session() as session:
        session.headers["Authorization"] = f"Api-Key {key}"
        while time.monotonic() < deadline:
            try:
                statuses.update(str(response.status_code) for response in attack(session, url))
            except requests.RequestException as error:
                statuses[type(error).__name__] += 1
    return statuses


def log_in(session: requests.Session, url: str) -> Iterable[Any]:
    """Wrong passwords of new names, each from another address, so that no lock stops them."""
    address = ".".join(map(str, os.urandom(4)))
    token = "a" * 32
    form = {"username": os.urandom(6).hex(), "password": "guess", "csrfmiddlewaretoken": token}
    headers = {"X-Forwarded-For": address, "Cookie": f"csrftoken={token}"}
    yield session.post(f"{url}/admin/login/", form, headers=headers, timeout=60)


def send_large_inputs(session: requests.Session, url: str) -> Iterable[Any]:
    bulk, json_headers = f"{url}/api/v1/people/bulk", {"Content-Type": "application/json"}
    for body in LARGE_BODIES:
        yield session.post(bulk, body, headers=json_headers, timeout=60)
    yield session.post(bulk, iter([b"["] + [b"1," * 100_000] * 40), headers=json_headers, timeout=60)
    yield session.get(f"{url}/api/v1/people", params={"search": "a" * 3500}, timeout=60)
    yield session.get(f"{url}/api/v1/people", params={"page_size": "0" * 200 + "100999999"}, timeout=60)
    yield session.get(f"{url}/api/v1/people", params={f"p{n}": "" for n in range(700)}, timeout=60)
    yield session.get(f"{url}/livez", headers={"X-A": "a" * 8000}, timeout=60)


LARGE_BODIES = [
    b" " * (5 * MEGABYTE),
    b'"' + b"a" * (5 * MEGABYTE - 2) + b'"',
    b"[" * 100_000,
    b"[" + b'"x",' * 5000 + b'"x"]',
    json.dumps([{f"field{n}": n for n in range(50_000)}]).encode(),
    b"[" + b"9" * MEGABYTE + b"]",
    b" " * (6 * MEGABYTE),
]


def list_people(session: requests.Session, url: str) -> Iterable[Any]:
    yield session.get(f"{url}/api/v1/people", timeout=60)


ATTACKS: dict[str, tuple[int, Callable[[requests.Session, str], Iterable[Any]]]] = {
    "login flood": (20, log_in),
    "large inputs": (20, send_large_inputs),
    "200 requests of one key at once": (200, list_people),
}

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]))
