# Good and bad values of the variables. No Google account is needed: the providers are mocks.
mock_provider "google" {}
mock_provider "random" {}

variables {
  project           = "your-project"
  domain            = "gists.example.com"
  github_repository = "your-organization/gisttracker"
  alert_email       = "oncall@example.com"
}

run "the_example_is_valid" {
  command = plan
}

run "good_values" {
  command = plan
  variables {
    project           = "a12345"
    region            = "northamerica-northeast1"
    domain            = "a-1.b.example.museum"
    github_repository = "O-1/Git.repo_2-x"
    database_tier     = "db-custom-2-7680"
    alert_email       = "on.call+gists@mail.example.co.uk"
  }
}

# Each run must fail for all six variables.
run "bad_values_1" {
  command = plan
  variables {
    project           = ""
    region            = ""
    domain            = ""
    github_repository = ""
    database_tier     = ""
    alert_email       = ""
  }
  expect_failures = [
    var.project, var.region, var.domain, var.github_repository, var.database_tier, var.alert_email,
  ]
}

run "bad_values_2" {
  command = plan
  variables {
    project           = "Your-Project"                            # capitals
    region            = "europe-west1-b"                          # a zone
    domain            = "https://gists.example.com"               # a URL
    github_repository = "https://github.com/your-org/gisttracker" # a URL
    database_tier     = "g1-small"                                # no prefix
    alert_email       = "oncall"                                  # no domain
  }
  expect_failures = [
    var.project, var.region, var.domain, var.github_repository, var.database_tier, var.alert_email,
  ]
}

run "bad_values_3" {
  command = plan
  variables {
    project           = "your-project-"             # ends with a hyphen
    region            = "EU"                        # a multi-region
    domain            = "gists"                     # no dot
    github_repository = "gisttracker"               # no owner
    database_tier     = "db-g1 small"               # a space
    alert_email       = "oncall@example.com, other" # two
  }
  expect_failures = [
    var.project, var.region, var.domain, var.github_repository, var.database_tier, var.alert_email,
  ]
}

run "bad_values_4" {
  command = plan
  variables {
    project           = "five5"                       # too short
    region            = "europe_west1"                # an underscore
    domain            = "-gists.example.com"          # begins with a hyphen
    github_repository = "o/n' || assertion.ref != 'n" # would change the condition of the pipeline's login
    database_tier     = "DB-G1-SMALL"                 # capitals
    alert_email       = "oncall@example.com\nother"   # a line break
  }
  expect_failures = [
    var.project, var.region, var.domain, var.github_repository, var.database_tier, var.alert_email,
  ]
}
