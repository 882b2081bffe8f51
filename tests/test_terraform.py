"""What `terraform test` (deploy/terraform/tests) cannot see: that nothing else is there."""

import re

from tests.conftest import ROOT

FOLDER = ROOT / "deploy/terraform"
TEXT = "\n".join(path.read_text() for path in sorted(FOLDER.glob("*.tf")))
ROLES = {
    "google_project_iam_member.nodes": "roles/container.defaultNodeServiceAccount",
    "google_artifact_registry_repository_iam_member.nodes": "roles/artifactregistry.reader",
    "google_project_iam_member.deploy": "roles/container.developer",
    "google_artifact_registry_repository_iam_member.deploy": "roles/artifactregistry.writer",
    "google_secret_manager_secret_iam_member.deploy": "roles/secretmanager.secretAccessor",
    "google_service_account_iam_member.github": "roles/iam.workloadIdentityUser",
}


def resources(kind: str) -> dict[str, str]:
    """The resources whose type matches, by address, with their text."""
    found = re.findall(rf'^resource "({kind})" "(\w+)" {{\n(.*?)^}}$', TEXT, re.MULTILINE | re.DOTALL)
    return {f"{type}.{name}": body for type, name, body in found}


def test_the_accounts_have_only_the_listed_roles() -> None:
    granted = {
        address: re.findall(r'^\s*role\s*=\s*"(.*)"$', body, re.MULTILINE)
        for address, body in resources(r"google_\w*_iam_(?:member|binding|policy)\w*").items()
    }

    assert granted == {address: [role] for address, role in ROLES.items()}


def test_no_key_of_a_service_account_exists() -> None:
    assert "google_service_account_key" not in TEXT


def test_only_generated_secrets_have_a_version() -> None:
    assert list(resources(r"google_secret_manager_secret_version\w*")) == [
        "google_secret_manager_secret_version.generated"
    ]


def test_every_alert_policy_sends_to_the_channel() -> None:
    policies = resources("google_monitoring_alert_policy")

    assert policies
    for body in policies.values():
        assert re.search(r"notification_channels\s*= \[google_monitoring_notification_channel\.email\.name\]", body)


def test_every_file_of_tests_replaces_the_providers() -> None:
    files = list(FOLDER.glob("tests/*.tftest.hcl"))

    assert files
    for file in files:
        assert re.findall(r'^mock_provider "(\w+)" {}$', file.read_text(), re.MULTILINE) == ["google", "random"], file
