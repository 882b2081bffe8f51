"""The alert rules, evaluated by promtool: each fires for its problem, and stays quiet without it."""

import os
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from sync.health.judge import TOKEN_PAGE
from sync.health.problems import TICKETS, Code
from tests.conftest import ROOT

RULES = ROOT / "deploy/alerts.yaml"
ALERT_OF = {
    Code.NOT_RUNNING: "StalePolls",
    Code.CANNOT_START: "StalePolls",
    Code.RUNS_CRASH: "StalePolls",
    Code.NO_GITHUB_TOKEN: "StalePolls",
    Code.POLLS_STALE: "StalePolls",
    Code.GITHUB_REFUSED: "TokenRefused",
    Code.PIPEDRIVE_REFUSED: "TokenRefused",
    Code.BACKLOG_STALE: "StaleBacklog",
    Code.PEOPLE_FAILING: "PeopleInTrouble",
    Code.GISTS_FAILING: "PeopleInTrouble",
    Code.API_SUNSET: "ApiVersionSunset",
    Code.REJECTED_JUMP: "RejectedJump",
    Code.GONE_JUMP: "GoneJump",
    Code.STREAM_DEGRADED: "StreamDegraded",
    Code.GITHUB_TOKEN_EXPIRES: "GitHubTokenExpires",
    Code.API_KEYS_EXPIRE: "ApiKeysExpire",
}
PAGE_OF = {Code.GITHUB_TOKEN_EXPIRES: "GitHubTokenExpiresNow"}  # of tickets that become a page
HAS_CODE_LABEL = {"StalePolls", "TokenRefused", "PeopleInTrouble"}
ALERTS = {rule["alert"]: rule for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]}


def series(
    problems: set[Code], *, since: int = 0, token_left: timedelta = TOKEN_PAGE + timedelta(hours=1)
) -> list[dict[str, str]]:
    """The metrics of two replicas for an hour; the problems begin at minute `since`. `token_left`: at minute 0."""
    end = int(token_left.total_seconds())  # The clock of promtool begins at 0.
    rows = []
    for pod in ("web-1", "web-2"):
        for code in Code:
            values = f"0x{since - 1} 1x60" if code in problems and since else ("1x60" if code in problems else "0x60")
            rows.append({"series": f'gisttracker_problem{{code="{code}", pod="{pod}"}}', "values": values})
        rows.append({"series": f'gisttracker_healthy{{pod="{pod}"}}', "values": "1x60"})
        token = f'gisttracker_github_token_expiry_timestamp_seconds{{pod="{pod}"}}'
        rows.append({"series": token, "values": f"{end}x60"})
    return rows


def expectation(alert: str, minute: int, code: Code | None) -> dict[str, Any]:
    """What promtool expects at that minute: no alert, or the alert for this code."""
    if code is None:
        return {"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": []}
    labels = {"severity": ALERTS[alert]["labels"]["severity"]}
    labels |= {"code": str(code)} if alert in HAS_CODE_LABEL else {}
    texts = {name: text.replace("{{ $labels.code }}", code) for name, text in ALERTS[alert]["annotations"].items()}
    firing = {"exp_labels": labels, "exp_annotations": texts}
    return {"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": [firing]}


def find_differences(tmp_path: Path, tests: list[dict[str, Any]]) -> str:
    """What promtool reports about these tests; empty if the rules behave as they expect."""
    promtool = shutil.which("promtool")
    if not promtool:
        assert not os.environ.get("CI"), "promtool is required in CI"
        pytest.skip("promtool is not installed (apt-get install prometheus)")
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    result = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False)
    return result.stdout + result.stderr if result.returncode else ""


@pytest.mark.slow("runs promtool")
def test_each_problem_fires_its_alert_and_no_other(tmp_path: Path) -> None:
    tests = []
    for code in Code:
        expectations = [
            expectation(alert, minute, code if alert == ALERT_OF[code] and minute == 50 else None)
            for alert in ALERTS
            for minute in (15, 50)  # before the problem began, and long after
        ]
        tests.append({"interval": "1m", "input_series": series({code}, since=30), "alert_rule_test": expectations})

    assert find_differences(tmp_path, tests) == ""


@pytest.mark.parametrize("code", PAGE_OF)
def test_a_ticket_that_becomes_a_page_fires_that_alert_only(code: Code, tmp_path: Path) -> None:
    expectations = [expectation(alert, 50, code if alert == PAGE_OF[code] else None) for alert in ALERTS]
    rows = series({code}, token_left=TOKEN_PAGE)

    assert find_differences(tmp_path, [{"interval": "1m", "input_series": rows, "alert_rule_test": expectations}]) == ""


def test_a_healthy_service_fires_nothing(tmp_path: Path) -> None:
    expectations = [expectation(alert, 50, None) for alert in ALERTS]

    assert (
        find_differences(tmp_path, [{"interval": "1m", "input_series": series(set()), "alert_rule_test": expectations}])
        == ""
    )


def test_a_service_without_metrics_fires(tmp_path: Path) -> None:
    texts = ALERTS["MetricsMissing"]["annotations"]
    firing = {"exp_labels": {"severity": "page"}, "exp_annotations": texts}
    expectations = [
        {"eval_time": "5m", "alertname": "MetricsMissing", "exp_alerts": []},
        {"eval_time": "11m", "alertname": "MetricsMissing", "exp_alerts": [firing]},
    ]

    assert find_differences(tmp_path, [{"interval": "1m", "input_series": [], "alert_rule_test": expectations}]) == ""


def test_every_problem_has_an_alert_of_its_severity() -> None:
    assert set(ALERT_OF) == set(Code)
    for code, alert in ALERT_OF.items():
        assert ALERTS[alert]["labels"]["severity"] == ("ticket" if code in TICKETS else "page")
        assert code in ALERTS[alert]["expr"]
    assert all(ALERTS[alert]["labels"]["severity"] == "page" for alert in PAGE_OF.values())
