output "address" {
  description = "Point the domain's A record here."
  value       = google_compute_global_address.web.address
}

output "cluster" {
  description = "CLUSTER for deploy.sh."
  value       = google_container_cluster.main.name
}

output "image_repository" {
  description = "Where images are pushed."
  value       = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}/gisttracker"
}

output "workload_identity_provider" {
  description = "GCP_WORKLOAD_IDENTITY_PROVIDER of the GitHub environment."
  value       = google_iam_workload_identity_pool_provider.github.name
}

output "deploy_service_account" {
  description = "GCP_SERVICE_ACCOUNT of the GitHub environment."
  value       = google_service_account.deploy.email
}
