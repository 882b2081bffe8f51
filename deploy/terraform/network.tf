locals {
  apis = concat([
    "artifactregistry", "certificatemanager", "compute", "container", "iam", "iamcredentials", "monitoring",
    "secretmanager", "servicenetworking", "sqladmin", "sts",
  ], var.binary_authorization ? ["binaryauthorization"] : [])
}

resource "google_project_service" "required" {
  for_each           = toset(local.apis)
  service            = "${each.key}.googleapis.com"
  disable_on_destroy = false
}

resource "google_compute_network" "main" {
  #checkov:skip=CKV2_GCP_18:the only ingress rules are those that GKE creates for its load balancer
  name                    = "gisttracker"
  auto_create_subnetworks = false
  depends_on              = [google_project_service.required]
}

resource "google_compute_subnetwork" "cluster" {
  name                     = "gisttracker"
  network                  = google_compute_network.main.id
  region                   = var.region
  ip_cidr_range            = "10.10.0.0/20"
  private_ip_google_access = true

  secondary_ip_range {
    range_name    = "pods"
    ip_cidr_range = "10.20.0.0/16"
  }
  secondary_ip_range {
    range_name    = "services"
    ip_cidr_range = "10.30.0.0/20"
  }
  log_config {
    aggregation_interval = "INTERVAL_10_MIN"
    flow_sampling        = 0.1
    metadata             = "INCLUDE_ALL_METADATA"
  }
}

# The nodes have no public addresses; the sync jobs reach GitHub and Pipedrive through Cloud NAT.
resource "google_compute_router" "nat" {
  name    = "gisttracker"
  network = google_compute_network.main.id
  region  = var.region
}

resource "google_compute_router_nat" "nat" {
  name                               = "gisttracker"
  router                             = google_compute_router.nat.name
  region                             = var.region
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "ALL_SUBNETWORKS_ALL_IP_RANGES"
}

# The address range for Cloud SQL's private IP.
resource "google_compute_global_address" "services" {
  name          = "gisttracker-services"
  purpose       = "VPC_PEERING"
  address_type  = "INTERNAL"
  prefix_length = 20
  network       = google_compute_network.main.id
}

resource "google_service_networking_connection" "services" {
  network                 = google_compute_network.main.id
  service                 = "servicenetworking.googleapis.com"
  reserved_peering_ranges = [google_compute_global_address.services.name]
}

# A static address for the Gateway, and a certificate that Google renews.
resource "google_compute_global_address" "web" {
  name       = "gisttracker"
  depends_on = [google_project_service.required]
}

resource "google_certificate_manager_certificate" "web" {
  name = "gisttracker"
  managed {
    domains = [var.domain]
  }
  depends_on = [google_project_service.required]
}

resource "google_certificate_manager_certificate_map" "web" {
  name       = "gisttracker"
  depends_on = [google_project_service.required]
}

resource "google_certificate_manager_certificate_map_entry" "web" {
  name         = "gisttracker"
  map          = google_certificate_manager_certificate_map.web.name
  hostname     = var.domain
  certificates = [google_certificate_manager_certificate.web.id]
}
