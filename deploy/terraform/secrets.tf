# The two API tokens, and the URLs of webhooks (optional), are added manually (see docs/deploy.md), so that Terraform's state
# never contains them. The other secrets are generated here.
locals {
  manual = ["pipedrive-token", "github-token", "ping-url", "notify-url"]
  generated = {
    database-password = random_password.database.result
    secret-key        = random_password.secret_key.result
    settings          = <<-END
      DOMAIN=${var.domain}
      DATABASE_HOST=${google_sql_database_instance.main.private_ip_address}
      DATABASE_CIDR=${google_sql_database_instance.main.private_ip_address}/32
      ADDRESS_NAME=${google_compute_global_address.web.name}
      CERTIFICATE_MAP=${google_certificate_manager_certificate_map.web.name}
      SOURCE_REPOSITORY=${var.github_repository}
    END
  }
}

resource "random_password" "secret_key" {
  length = 64
}

resource "google_secret_manager_secret" "all" {
  for_each  = toset(concat(local.manual, keys(nonsensitive(local.generated))))
  secret_id = "gisttracker-${each.key}"
  replication {
    auto {}
  }
  depends_on = [google_project_service.required]
}

resource "google_secret_manager_secret_version" "generated" {
  for_each    = toset(["database-password", "secret-key", "settings"])
  secret      = google_secret_manager_secret.all[each.key].id
  secret_data = local.generated[each.key]
}
