resource "google_service_account" "nodes" {
  account_id   = "gisttracker-nodes"
  display_name = "Nodes of the gisttracker cluster"
}

resource "google_project_iam_member" "nodes" {
  project = var.project
  role    = "roles/container.defaultNodeServiceAccount"
  member  = google_service_account.nodes.member
}

resource "google_container_cluster" "main" {
  # Autopilot sets these itself: network policy, metadata server, intranode visibility, no client certificates.
  #checkov:skip=CKV_GCP_12:Autopilot always enforces network policies
  #checkov:skip=CKV_GCP_13:new clusters do not issue client certificates
  #checkov:skip=CKV_GCP_61:Autopilot; the subnetwork has flow logs
  #checkov:skip=CKV_GCP_69:Autopilot always enables the metadata server
  #checkov:skip=CKV_GCP_20:the control plane's IP endpoint is disabled; IAM protects its DNS endpoint
  #checkov:skip=CKV_GCP_65:requires a Google group of the organization; IAM controls access instead
  #checkov:skip=CKV_GCP_66:an option (binary_authorization.tf); deploy.sh verifies the image's signature
  name                = "gisttracker"
  location            = var.region
  enable_autopilot    = true
  deletion_protection = var.deletion_protection
  resource_labels     = { app = "gisttracker" }
  network             = google_compute_network.main.id
  subnetwork          = google_compute_subnetwork.cluster.id

  ip_allocation_policy {
    cluster_secondary_range_name  = "pods"
    services_secondary_range_name = "services"
  }

  # Nodes have no public addresses; the control plane is reachable only through its DNS endpoint, protected by IAM.
  private_cluster_config {
    enable_private_nodes = true
  }
  control_plane_endpoints_config {
    dns_endpoint_config {
      allow_external_traffic = true
    }
    ip_endpoints_config {
      enabled = false
    }
  }

  gateway_api_config {
    channel = "CHANNEL_STANDARD"
  }
  binary_authorization {
    evaluation_mode = var.binary_authorization ? "PROJECT_SINGLETON_POLICY_ENFORCE" : "DISABLED"
  }
  release_channel {
    channel = "REGULAR"
  }
  cluster_autoscaling {
    auto_provisioning_defaults {
      service_account = google_service_account.nodes.email
      oauth_scopes    = ["https://www.googleapis.com/auth/cloud-platform"]
    }
  }
  maintenance_policy {
    recurring_window {
      start_time = "2026-01-03T01:00:00Z"
      end_time   = "2026-01-03T07:00:00Z"
      recurrence = "FREQ=WEEKLY;BYDAY=SA,SU"
    }
  }

  depends_on = [google_project_service.required]
}

resource "google_artifact_registry_repository" "images" {
  #checkov:skip=CKV_GCP_84:Google's own encryption at rest is enough for images of public code
  repository_id = "gisttracker"
  location      = var.region
  format        = "DOCKER"
  description   = "Container images of gisttracker"

  # Twenty releases: each has up to five versions (index, image, SBOM and provenance, signature and its index).
  cleanup_policies {
    id     = "keep-recent"
    action = "KEEP"
    most_recent_versions {
      keep_count = 100
    }
  }
  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"
    condition {
      older_than = "7776000s" # 90 days
    }
  }

  depends_on = [google_project_service.required]
}

resource "google_artifact_registry_repository_iam_member" "nodes" {
  repository = google_artifact_registry_repository.images.name
  location   = var.region
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.nodes.member
}
