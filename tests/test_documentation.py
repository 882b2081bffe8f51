"""The documents: what they show exists and works, and what they list is complete."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pytest_django import Settings

from gisttracker.config.environment import VARIABLES
from gisttracker.management.command_line import CommandLine
from people.models import Person
from sync.health.problems import TICKETS, Code
from tests import settings_table
from tests.conftest import GITHUB_TOKEN, PIPEDRIVE_TOKEN, ROOT
from tests.described import list_operations
from tests.documents import (
    DOCUMENTS,
    LINK,
    find_anchors,
    find_arguments,
    find_blocks,
    find_commands,
    find_rows,
    find_spans,
    read,
    without_blocks,
)
from tests.standins import GitHubStandIn, PipedriveStandIn
from tests.standins.wire import RecordedRequest, Response, StandIn, json_response
from tests.test_alert_rules import ALERT_OF, ALERTS, PAGE_OF
from tests.test_deploy import render

PROGRAMS = {
    "make", ".venv/bin/python", "manage.py", "curl", "printf", "echo", "export", "cp", "cd", "git",
    "docker", "kind", "kubectl", "gcloud", "terraform", "deploy/deploy.sh",
    "deploy/kubernetes/overlays/local/try.sh", "deploy/kubernetes/overlays/local/trials.sh",
}  # fmt: skip
FOREIGN_NAMES = {"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NAME_FILE"}

each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)


# --- shape ---
def test_the_readme_has_at_most_150_lines_and_one_picture() -> None:
    text = read("README.md")

    assert len(text.splitlines()) <= 150
    assert len(find_blocks(text, "mermaid")) == 1


@each_document
def test_each_link_leads_to_a_file_and_a_heading(path: Path) -> None:
    for link in LINK.findall(path.read_text()):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        assert not anchor or anchor in find_anchors(target), link


def test_the_readme_links_each_document() -> None:
    linked = {(ROOT / link.split("#")[0]).resolve() for link in LINK.findall(read("README.md"))}

    assert set(DOCUMENTS) - linked == {ROOT / "README.md"}


@each_document
def test_each_file_that_is_named_exists(path: Path) -> None:
    folders = [ROOT, path.parent, *(ROOT / folder for folder in ("gisttracker", "people", "sync", "tests", "deploy"))]
    for span in find_spans(path.read_text()):
        if re.fullmatch(r"\.?[\w-]+(/[\w.-]+)*\.(py|sh|ya?ml|md|txt|in|toml|tf|json)|[\w-]+(/[\w.-]+)*/", span):
            assert any((folder / span).exists() for folder in folders), span


# --- commands ---
@each_document
def test_each_block_of_commands_is_valid_shell(path: Path) -> None:
    for block in find_blocks(path.read_text(), "sh"):
        checked = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, block + checked.stderr
    assert not re.search(r"^ {4}(make|curl|docker|kubectl|\.venv)", without_blocks(path.read_text()), re.MULTILINE)


@each_document
def test_each_command_is_of_a_program_that_is_checked_here(path: Path) -> None:
    for words in find_commands(path.read_text()):
        while re.match(r"\w+=", words[0]):
            words = words[1:]
        assert words[0] in PROGRAMS, words


@each_document
def test_each_command_of_manage_py_exists_with_its_arguments(path: Path) -> None:
    line = CommandLine(["manage.py"])
    for name, *arguments in find_arguments("manage.py", path.read_text()):
        parser = line.fetch_command(name).create_parser("manage.py", name)
        if arguments and not {"--help", "-h"} & set(arguments):  # A name alone is only a mention.
            parser.parse_args(arguments)


@each_document
def test_each_target_of_make_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", read("Makefile"), re.MULTILINE))
    for arguments in find_arguments("make", path.read_text()):
        assert {argument for argument in arguments if "=" not in argument} <= targets, arguments


@each_document
def test_each_container_workload_and_secret_exists(path: Path) -> None:
    text = path.read_text()
    compose = yaml.safe_load(read("docker-compose.yml"))["services"]
    workloads = {(item["kind"], item["metadata"]["name"]) for item in render("base")}
    terraform = "".join(file.read_text() for file in (ROOT / "deploy/terraform").glob("*.tf"))

    assert set(re.findall(r"docker compose exec (?:-T )?(\w+)", text)) <= set(compose)
    assert {("Deployment", name) for name in re.findall(r"(?:deploy|deployment)/(web\b)", text)} <= workloads
    assert {("CronJob", name) for name in re.findall(r"cronjob[/ ]([\w-]+)", text)} <= workloads
    for name in re.findall(r"gcloud secrets versions add gisttracker-([\w-]+)", text):
        assert f'"{name}"' in terraform or f'"gisttracker-{name}"' in terraform, name


@each_document
def test_each_name_in_capitals_is_a_setting_or_read_by_a_script(path: Path) -> None:
    known = {variable.name for variable in VARIABLES} | FOREIGN_NAMES
    known |= {f"{variable.name}_FILE" for variable in VARIABLES if variable.secret}
    files = [ROOT / "Makefile", *(ROOT / "deploy").rglob("*.*"), *(ROOT / ".github").rglob("*.yml")]
    files += [*(ROOT / "tests").glob("*.py"), *(ROOT / "tests").glob("*.sh"), ROOT / "docker-compose.yml"]
    scripts = "".join(file.read_text() for file in files if file.is_file())

    spans = [re.match(r"([A-Z]+(?:_[A-Z]+)+)(=|$)", span) for span in find_spans(path.read_text())]
    names = {span[1] for span in spans if span} - known
    assert {name for name in names if not re.search(rf"\b{name}\b", scripts)} == set()


def run_blocks(text: str, server: str, environment: dict[str, Any], functions: str = "") -> str:
    """Run the shell blocks of a text in one shell, against this server. Returns their output."""
    curl = 'curl() { command curl -sS --fail-with-body "$@"; echo; }'
    script = "\n".join(["set -e", curl, functions, *find_blocks(text, "sh")])
    script = script.replace("http://127.0.0.1:3000", server).replace(".venv/bin/python", sys.executable)
    completed = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "gisttracker.config.settings", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


@pytest.mark.slow("starts a web server")
@pytest.mark.django_db(transaction=True)
def test_the_examples_of_the_api_work(serve: Callable[..., str], database_variables: dict[str, str]) -> None:
    run_blocks(read("docs/api.md"), serve(), database_variables)

    assert sorted(Person.objects.values_list("github_username", "state")) == [
        ("ada", "new"),
        ("bjarne", "new"),
        ("grace", "paused"),
        ("ken", "new"),
    ]


@pytest.mark.slow("starts a web server")
@pytest.mark.django_db(transaction=True)
def test_the_readme_leads_to_a_visit(
    serve: Callable[..., str],
    configured: Settings,
    database_variables: dict[str, str],
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
) -> None:
    github.add_account("octocat")
    gist_id = github.publish("octocat")
    chapter = read("README.md").split("## Run it for real")[1].split("\n## ")[0]
    environment = {
        **database_variables,
        "GITHUB_API_URL": configured.GITHUB_API_URL,
        "GITHUB_TOKEN": GITHUB_TOKEN,
        "PIPEDRIVE_API_URL": configured.PIPEDRIVE_API_URL,
        "PIPEDRIVE_TOKEN": PIPEDRIVE_TOKEN,
        "DJANGO_SUPERUSER_USERNAME": "me",
        "DJANGO_SUPERUSER_PASSWORD": "x" * 20,
        "DJANGO_SUPERUSER_EMAIL": "me@example.com",
    }
    functions = 'cp() { :; }\nmake() { if [ "$1" = sync ]; then .venv/bin/python manage.py sync_gists; fi; }'

    output = run_blocks(
        chapter.replace("createsuperuser", "createsuperuser --noinput"), serve(), environment, functions
    )

    responses = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert [[gist["github_id"] for gist in person["gists"]] for person in responses[1:]] == [[gist_id], []]
    assert pipedrive.gist_ids() == [gist_id]


class Organisation(StandIn):
    """GitHub with 250 public members of an organisation."""

    operations = (("members", "GET", r"/orgs/engines/members"),)

    def respond(self, request: RecordedRequest) -> Response:
        page, size = int(request.query["page"]), int(request.query["per_page"])
        members = [{"login": f"member-{number}", "id": number, "type": "User"} for number in range(250)]
        return json_response(200, members[(page - 1) * size : page * size])


@pytest.mark.slow("starts manage.py")
@pytest.mark.django_db(transaction=True)
def test_the_recipe_imports_the_members_of_an_organisation(database_variables: dict[str, str], tmp_path: Path) -> None:
    if not shutil.which("jq"):
        assert not os.environ.get("CI"), "jq is required in CI"
        pytest.skip("jq is not installed")
    chapter = read("docs/operations.md").split("### Track the members of an organisation")[1].split("In compose")[0]
    recipe = chapter.replace("members.csv", str(tmp_path / "members.csv"))

    with Organisation() as github:
        recipe = recipe.replace("https://api.github.com/orgs/ORG/", f"{github.url}/orgs/engines/")
        output = run_blocks(recipe, "", database_variables, 'curl() { command curl "$@"; }')

    assert "250 created, 0 already tracked, 0 rejected." in output
    assert set(Person.objects.values_list("github_username", flat=True)) == {f"member-{n}" for n in range(250)}


# --- lists that are complete ---
def test_the_table_of_settings_is_generated() -> None:
    assert read("docs/settings.md") == settings_table.replace_table(read("docs/settings.md")), "run `make settings`"
    assert "| `DATABASE_HOST` |" in read("docs/settings.md")


def test_the_table_of_endpoints_is_that_of_the_document() -> None:
    rows = find_rows(read("docs/api.md"), "| endpoint, below `/api/v1` |")

    documented = [cells[0].strip("`") for cells in rows]
    expected = [
        f"{operation.method.upper()} {operation.path.removeprefix('/api/v1')}" for operation in list_operations()
    ]
    assert sorted(documented) == sorted(expected)


def test_each_alarm_is_listed_with_its_severity_and_what_to_do() -> None:
    rows = find_rows(read("docs/operations.md"), "| alarm | code |")

    listed = {(alarm, code.strip("`"), severity) for alarm, code, severity, *_ in rows}
    severities = {code: "ticket" if code in TICKETS else "page" for code in Code}
    others = {("MetricsMissing", "", "page"), *((alert, code, "page") for code, alert in PAGE_OF.items())}
    assert listed == {(ALERT_OF[code], code, severities[code]) for code in Code} | others
    assert {alarm for alarm, *_ in listed} == set(ALERTS)
    assert all(meaning and action for *_, meaning, action in rows)


def test_each_promise_has_a_price_and_tests_that_exist() -> None:
    text = read("docs/promises.md")
    rows = find_rows(text, "| promise | proven by |")

    chapters = re.findall(r"^## (\d+)\. .*?\n(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL)
    assert [number for number, _ in chapters] == [str(number) for number in range(1, 11)]
    assert all("**Price.**" in chapter for _, chapter in chapters)
    assert [cells[0].split(".")[0].removeprefix("[") for cells in rows] == [number for number, _ in chapters]
    assert all(re.search(r"`tests/test_\w+\.py`", cells[1]) for cells in rows)


def test_each_module_is_in_the_tree() -> None:
    tree = find_blocks(read("docs/architecture.md"), "text")[0]

    unimportant = {"__init__", "apps", "models"}
    assert {file.stem for file in (ROOT / "sync").glob("*.py")} - unimportant <= set(re.findall(r"\w+", tree))
