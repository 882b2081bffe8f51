variable "project" {
  description = "The Google Cloud project that everything is made in."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "A project id has 6 to 30 lower-case letters, digits and hyphens."
  }
}

variable "region" {
  description = "The region of the cluster, the database and the image repository."
  type        = string
  default     = "europe-west1"
  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "A region looks like europe-west1."
  }
}

variable "domain" {
  description = "The host name of the service. Its A record must point to the output address."
  type        = string
  validation {
    condition     = can(regex("^([a-z0-9-]+\\.)+[a-z]{2,}$", var.domain))
    error_message = "A host name looks like gists.example.com."
  }
}

variable "github_repository" {
  description = "OWNER/NAME of the repository whose main branch may deploy."
  type        = string
  validation {
    condition     = can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "A repository looks like owner/name."
  }
}

variable "database_tier" {
  description = "The machine of the database."
  type        = string
  default     = "db-g1-small"
  validation {
    condition     = startswith(var.database_tier, "db-")
    error_message = "A tier begins with db-, such as db-g1-small or db-custom-2-7680."
  }
}

variable "deletion_protection" {
  description = "Whether cluster and database refuse to be destroyed."
  type        = bool
  default     = true
}
