# What the pipeline and the nodes may do. tests/test_terraform.py compares all roles with a list.
mock_provider "google" {}
mock_provider "random" {}

variables {
  project           = "your-project"
  domain            = "gists.example.com"
  github_repository = "your-organization/gisttracker"
  alert_email       = "oncall@example.com"
}

run "only_the_workflow_on_main_of_this_repository_can_log_in" {
  assert {
    condition     = google_iam_workload_identity_pool_provider.github.attribute_condition == "assertion.repository == 'your-organization/gisttracker' && assertion.ref == 'refs/heads/main' && assertion.workflow_ref == 'your-organization/gisttracker/.github/workflows/cd.yml@refs/heads/main'"
    error_message = "The condition must name repository, branch and workflow."
  }
  assert {
    condition     = google_iam_workload_identity_pool_provider.github.oidc[0].issuer_uri == "https://token.actions.githubusercontent.com" && google_iam_workload_identity_pool_provider.github.attribute_mapping["attribute.repository"] == "assertion.repository"
    error_message = "The tokens must be GitHub's."
  }
  assert {
    condition     = endswith(google_service_account_iam_member.github.member, "/${google_iam_workload_identity_pool.github.name}/attribute.repository/your-organization/gisttracker") && google_service_account_iam_member.github.service_account_id == google_service_account.deploy.name
    error_message = "Only this repository may act as the pipeline's account."
  }
}

run "the_accounts_have_these_roles" {
  assert {
    condition     = google_artifact_registry_repository_iam_member.nodes.member == google_service_account.nodes.member && google_project_iam_member.nodes.member == google_service_account.nodes.member
    error_message = "The roles of the nodes must belong to their account."
  }
  assert {
    condition     = google_artifact_registry_repository_iam_member.deploy.member == google_service_account.deploy.member && google_project_iam_member.deploy.member == google_service_account.deploy.member
    error_message = "The roles of the pipeline must belong to its account."
  }
  assert {
    condition     = alltrue([for row in google_secret_manager_secret_iam_member.deploy : row.member == google_service_account.deploy.member]) && keys(google_secret_manager_secret_iam_member.deploy) == keys(google_secret_manager_secret.all)
    error_message = "The pipeline must be able to read exactly the secrets of gisttracker."
  }
  assert {
    condition     = google_container_cluster.main.cluster_autoscaling[0].auto_provisioning_defaults[0].service_account == google_service_account.nodes.email
    error_message = "The nodes must not run as the project's default account."
  }
}

run "secrets" {
  assert {
    condition     = toset(keys(google_secret_manager_secret.all)) == toset(["database-password", "github-token", "notify-url", "ping-url", "pipedrive-token", "secret-key", "settings"])
    error_message = "These are the secrets."
  }
  assert {
    condition     = toset(keys(google_secret_manager_secret_version.generated)) == toset(["database-password", "secret-key", "settings"])
    error_message = "Tokens and webhooks must not be in Terraform's state."
  }
  assert {
    condition = alltrue([
      for line in ["DOMAIN=gists.example.com", "SOURCE_REPOSITORY=your-organization/gisttracker"] :
      contains(split("\n", nonsensitive(google_secret_manager_secret_version.generated["settings"].secret_data)), line)
    ])
    error_message = "deploy.sh must find the domain and the source repository in the settings."
  }
}
