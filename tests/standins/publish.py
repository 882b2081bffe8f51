"""`python -m tests.standins.publish LOGIN [DESCRIPTION]`: this person publishes a gist now.

Run it beside `python -m tests.standins`. The next frequent sync hears of it through the stream.
"""

import os
import sys
import urllib.parse
import urllib.request

GITHUB_URL = os.environ.get("GITHUB_API_URL", "http://127.0.0.1:8081")


def main(login: str, description: str = "Published by hand") -> None:
    query = urllib.parse.urlencode({"description": description})
    url = f"{GITHUB_URL}/users/{login}/gists?{query}"
    request = urllib.request.Request(url, method="POST", headers={"user-agent": "publish"})  # noqa: S310  # the stand-ins
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        print(f"{login} has published {response.headers['location']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
