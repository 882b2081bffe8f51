mock_provider "google" {}
mock_provider "random" {}

variables {
  project           = "your-project"
  domain            = "gists.example.com"
  github_repository = "your-organization/gisttracker"
  alert_email       = "oncall@example.com"
}

run "off_by_default" {
  command = plan
  assert {
    condition     = length(google_binary_authorization_policy.main) == 0 && google_container_cluster.main.binary_authorization[0].evaluation_mode == "DISABLED"
    error_message = "Binary Authorization must be off."
  }
  assert {
    condition     = !contains(keys(google_project_service.required), "binaryauthorization")
    error_message = "The API must not be enabled."
  }
}

run "complete_when_on" {
  command = plan
  variables {
    region               = "us-central1"
    binary_authorization = true
  }
  assert {
    condition     = google_container_cluster.main.binary_authorization[0].evaluation_mode == "PROJECT_SINGLETON_POLICY_ENFORCE"
    error_message = "The cluster must enforce the policy."
  }
  assert {
    condition     = contains(keys(google_project_service.required), "binaryauthorization")
    error_message = "The API must be enabled."
  }
  assert {
    condition     = google_binary_authorization_policy.main[0].default_admission_rule[0].evaluation_mode == "ALWAYS_DENY" && google_binary_authorization_policy.main[0].default_admission_rule[0].enforcement_mode == "ENFORCED_BLOCK_AND_AUDIT_LOG"
    error_message = "Other images must be refused."
  }
  assert {
    condition     = [for row in google_binary_authorization_policy.main[0].admission_whitelist_patterns : row.name_pattern] == ["us-central1-docker.pkg.dev/your-project/gisttracker/*"]
    error_message = "Only images of the project's repository must be accepted."
  }
  assert {
    condition     = startswith(output.image_repository, trimsuffix(google_binary_authorization_policy.main[0].admission_whitelist_patterns[0].name_pattern, "*"))
    error_message = "The image that the pipeline pushes must be accepted."
  }
  assert {
    condition     = google_binary_authorization_policy.main[0].global_policy_evaluation_mode == "ENABLE"
    error_message = "Google's system images must be exempt, or no node becomes ready."
  }
}
