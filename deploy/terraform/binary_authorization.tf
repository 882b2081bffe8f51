# Optional: the cluster refuses every image that is not from the repository of this project, to which only the pipeline
# can push. Google's own system images are exempt.
#
# This does not verify signatures: Binary Authorization accepts signatures by a fixed public key only, and the pipeline
# signs without a key of its own (keyless). deploy.sh verifies the signature before each deployment.
resource "google_binary_authorization_policy" "main" {
  count                         = var.binary_authorization ? 1 : 0
  description                   = "Only images of gisttracker's repository"
  global_policy_evaluation_mode = "ENABLE"

  admission_whitelist_patterns {
    name_pattern = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}/*"
  }
  default_admission_rule {
    evaluation_mode  = "ALWAYS_DENY"
    enforcement_mode = "ENFORCED_BLOCK_AND_AUDIT_LOG"
  }
  depends_on = [google_project_service.required]
}
