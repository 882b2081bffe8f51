"""`make screenshots`: pictures of the admin for the docs, light and dark, of a sample service."""

import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs/screenshots"
PAGES = {"desk": "/admin/", "people": "/admin/people/person/", "person": "/admin/people/person/5/change/"}
PAGES |= {"gists": "/admin/people/gist/", "runs": "/admin/sync/syncrun/"}
WHOLE = ("desk", "person")  # the whole page, not only its top
PASSWORD = secrets.token_urlsafe(12)


def main() -> None:
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as folder:
        port = os.environ.get("LISTEN_PORT", "3057")
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "gisttracker.config.settings",
            "DATABASE_HOST": "",
            "SQLITE_PATH": f"{folder}/sample.sqlite3",
            "DEBUG": "true",
            "ENVIRONMENT_NAME": "staging",
            "PIPEDRIVE_API_URL": "https://yourcompany.pipedrive.com",
            "LISTEN_PORT": port,
            "SECRET_KEY": secrets.token_urlsafe(50),
        }
        _fill()
        command = [sys.executable, "-m", "gunicorn", "-c", "python:gisttracker.web.gunicorn", "gisttracker.web.asgi"]
        server = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            _wait_for(f"http://127.0.0.1:{port}")
            _take_pictures(f"http://127.0.0.1:{port}")
        finally:
            server.terminate()
            server.wait(timeout=60)


def _fill() -> None:
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    from django.contrib.auth.models import User
    from django.db import connection

    from tests.sample_data import fill

    fill()
    User.objects.create_superuser("admin", password=PASSWORD)
    connection.close()


def _wait_for(base: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if requests.get(f"{base}/readyz", timeout=2).ok:
                return
        except requests.RequestException:
            time.sleep(0.1)
    sys.exit("The server did not start.")


def _take_pictures(base: str) -> None:
    from tests.browser import CHROMIUM, Scheme, open_desk, start_browser

    if not CHROMIUM:
        sys.exit("Chromium is not installed (apt-get install chromium).")
    FOLDER.mkdir(parents=True, exist_ok=True)
    schemes: tuple[Scheme, ...] = ("light", "dark")
    with start_browser() as browser:
        for scheme in schemes:
            for suffix, width in (("", 1366), ("-phone", 390)):
                with open_desk(browser, base, scheme=scheme, width=width) as desk:
                    desk.log_in("admin", PASSWORD)
                    for name, path in PAGES.items():
                        desk.open(path)
                        file = FOLDER / f"{name}-{scheme}{suffix}.png"
                        desk.page.screenshot(path=file, full_page=name in WHOLE)
                        print(file.relative_to(ROOT))


if __name__ == "__main__":
    main()
