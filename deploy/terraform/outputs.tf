output "address" {
  description = "The target of the domain's A record."
  value       = google_compute_global_address.web.address
}

output "cluster" {
  description = "The CLUSTER argument of deploy.sh."
  value       = google_container_cluster.main.name
}

output "image_repository" {
  description = "The repository that images are pushed to."
  value       = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}/gisttracker"
}

output "workload_identity_provider" {
  description = "The variable GCP_WORKLOAD_IDENTITY_PROVIDER of the GitHub environment."
  value       = google_iam_workload_identity_pool_provider.github.name
}

output "deploy_service_account" {
  description = "The variable GCP_SERVICE_ACCOUNT of the GitHub environment."
  value       = google_service_account.deploy.email
}
