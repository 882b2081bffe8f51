resource "random_password" "database" {
  length  = 40
  special = false
}

resource "google_sql_database_instance" "main" {
  #checkov:skip=CKV_GCP_6:ssl_mode is ENCRYPTED_ONLY; the check only supports the older require_ssl
  name                = "gisttracker"
  region              = var.region
  database_version    = "MYSQL_8_4"
  deletion_protection = var.deletion_protection # against Terraform; the setting below is against everything else

  settings {
    tier                        = var.database_tier
    edition                     = "ENTERPRISE"
    availability_type           = "ZONAL"
    disk_autoresize             = true
    deletion_protection_enabled = var.deletion_protection
    retain_backups_on_delete    = true

    ip_configuration {
      ipv4_enabled    = false
      private_network = google_compute_network.main.id
      ssl_mode        = "ENCRYPTED_ONLY"
    }
    backup_configuration {
      enabled                        = true
      binary_log_enabled             = true # point-in-time recovery
      start_time                     = "02:00"
      transaction_log_retention_days = 7
      backup_retention_settings {
        retained_backups = 14
      }
    }
    maintenance_window {
      day          = 6
      hour         = 3
      update_track = "stable"
    }
    database_flags {
      name  = "local_infile"
      value = "off"
    }
  }

  depends_on = [google_service_networking_connection.services]
}

resource "google_sql_database" "main" {
  name      = "pipedrive"
  instance  = google_sql_database_instance.main.name
  charset   = "utf8mb4"
  collation = "utf8mb4_0900_ai_ci"
  # Terraform replaces a database whose character set changes. It must not drop the data for that.
  deletion_policy = var.deletion_protection ? "ABANDON" : "DELETE"
}

resource "google_sql_user" "main" {
  name     = "pipedrive"
  instance = google_sql_database_instance.main.name
  password = random_password.database.result
}
