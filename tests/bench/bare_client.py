"""A plain `requests` session with a thread pool, which makes the same conditional requests as a run and nothing else.

`python -m tests.bench.bare_client URL TOKEN CONCURRENCY` reads {login: ETag} and prints wall and CPU seconds as JSON.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import requests
from requests.adapters import HTTPAdapter


def main(url: str, token: str, etags: dict[str, str], concurrency: int) -> None:
    session = requests.Session()
    session.headers.update({"Authorization": f"Bearer {token}", "User-Agent": "bare"})
    session.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=concurrency))

    def poll(login: str) -> int:
        address = f"{url}/users/{login}/gists?per_page=100"
        return session.get(address, headers={"If-None-Match": etags[login]}, timeout=20).status_code

    wall, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(concurrency) as pool:
        statuses = set(pool.map(poll, etags))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps({"wall": wall, "cpu": cpu, "statuses": sorted(statuses)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.load(sys.stdin), int(sys.argv[3]))
