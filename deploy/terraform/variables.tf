variable "project" {
  description = "The Google Cloud project that all resources are created in."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "A project ID has 6 to 30 lowercase letters, digits and hyphens, and starts with a letter."
  }
}

variable "region" {
  description = "The region of the cluster, the database and the image repository."
  type        = string
  default     = "europe-west1"
  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "A region must look like europe-west1."
  }
}

variable "domain" {
  description = "The host name of the service. Its A record must point to the output address."
  type        = string
  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", var.domain))
    error_message = "A domain must look like gists.example.com."
  }
}

variable "github_repository" {
  description = "OWNER/NAME of the GitHub repository whose main branch may deploy."
  type        = string
  validation {
    condition     = can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "A repository must look like owner/name."
  }
}

variable "database_tier" {
  description = "The Cloud SQL machine type."
  type        = string
  default     = "db-g1-small"
  validation {
    condition     = can(regex("^db-[a-z0-9-]+$", var.database_tier))
    error_message = "A tier must start with db-, such as db-g1-small or db-custom-2-7680."
  }
}

variable "deletion_protection" {
  description = "Whether the cluster and the database are protected against deletion."
  type        = bool
  default     = true
  nullable    = false
}

variable "binary_authorization" {
  description = "Whether the cluster runs only images of this project's repository. The policy applies to the whole project."
  type        = bool
  default     = false
  nullable    = false
}

variable "alert_email" {
  description = "The address that alerts are sent to."
  type        = string
  validation {
    condition     = can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", var.alert_email))
    error_message = "An address must look like oncall@example.com."
  }
}
