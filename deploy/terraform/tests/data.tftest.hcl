# The database and its backups survive mistakes.
mock_provider "google" {}
mock_provider "random" {}

variables {
  project           = "your-project"
  domain            = "gists.example.com"
  github_repository = "your-organization/gisttracker"
  alert_email       = "oncall@example.com"
}

run "deletion_protection_is_on_by_default" {
  command = plan
  assert {
    condition     = google_sql_database_instance.main.deletion_protection && google_sql_database_instance.main.settings[0].deletion_protection_enabled
    error_message = "The instance must be protected against Terraform, and in Google Cloud."
  }
  assert {
    condition     = google_container_cluster.main.deletion_protection
    error_message = "The cluster must be protected."
  }
  assert {
    condition     = google_sql_database.main.deletion_policy == "ABANDON"
    error_message = "A replaced database must not be dropped."
  }
}

run "null_is_the_default_too" {
  command = plan
  variables {
    deletion_protection = null
  }
  assert {
    condition     = google_sql_database_instance.main.deletion_protection && google_sql_database_instance.main.settings[0].deletion_protection_enabled
    error_message = "The instance must be protected."
  }
}

run "deletion_protection_can_be_switched_off" {
  command = plan
  variables {
    deletion_protection = false
  }
  assert {
    condition     = !google_sql_database_instance.main.deletion_protection && !google_sql_database_instance.main.settings[0].deletion_protection_enabled && !google_container_cluster.main.deletion_protection
    error_message = "terraform destroy must be possible."
  }
  assert {
    condition     = google_sql_database_instance.main.settings[0].retain_backups_on_delete
    error_message = "Backups must survive the instance also then."
  }
}

run "backups" {
  command = plan
  assert {
    condition     = google_sql_database_instance.main.settings[0].retain_backups_on_delete
    error_message = "Backups must survive the instance."
  }
  assert {
    condition     = google_sql_database_instance.main.settings[0].backup_configuration[0].enabled && google_sql_database_instance.main.settings[0].backup_configuration[0].binary_log_enabled
    error_message = "Backups and point-in-time recovery must be on."
  }
  assert {
    condition     = google_sql_database_instance.main.settings[0].backup_configuration[0].backup_retention_settings[0].retained_backups >= 14
    error_message = "Two weeks of backups must be kept."
  }
}

run "only_the_private_network_reaches_the_database" {
  command = plan
  assert {
    condition     = !google_sql_database_instance.main.settings[0].ip_configuration[0].ipv4_enabled && google_sql_database_instance.main.settings[0].ip_configuration[0].ssl_mode == "ENCRYPTED_ONLY"
    error_message = "The database must have no public address, and must refuse plain text."
  }
}

run "images_of_twenty_releases_are_kept" {
  command = plan
  assert {
    condition     = one([for policy in google_artifact_registry_repository.images.cleanup_policies : policy if policy.action == "KEEP"]).most_recent_versions[0].keep_count >= 20 * 5
    error_message = "A release has up to five versions, with its SBOM, provenance and signature."
  }
}
