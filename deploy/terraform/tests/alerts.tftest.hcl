# Every rule of deploy/alerts.yaml becomes a policy that sends e-mail.
mock_provider "google" {}
mock_provider "random" {}

variables {
  project           = "your-project"
  domain            = "gists.example.com"
  github_repository = "your-organization/gisttracker"
  alert_email       = "oncall@example.com"
}

run "alerts" {
  assert {
    condition = length(local.alert_rules) > 0 && toset(keys(google_monitoring_alert_policy.all)) == toset(flatten([
      for group in yamldecode(file("../alerts.yaml")).groups : [for rule in group.rules : rule.alert]
    ]))
    error_message = "Each rule of each group must have one policy."
  }
  assert {
    condition = alltrue([
      for name, policy in google_monitoring_alert_policy.all :
      one(policy.conditions).condition_prometheus_query_language[0].query == local.alert_rules[name].expr &&
      one(policy.conditions).condition_prometheus_query_language[0].duration == local.alert_rules[name].for
    ])
    error_message = "A policy must have the expression and the duration of its rule."
  }
  assert {
    condition = alltrue([
      for policy in google_monitoring_alert_policy.all :
      one(policy.conditions).condition_prometheus_query_language[0].disable_metric_validation == true
    ])
    error_message = "Google refuses a policy for a metric that does not exist yet, so the first apply would fail."
  }
  assert {
    condition = alltrue([
      for policy in concat(values(google_monitoring_alert_policy.all), [google_monitoring_alert_policy.unreachable]) :
      policy.notification_channels == tolist([google_monitoring_notification_channel.email.name])
    ])
    error_message = "A policy must notify the channel."
  }
  assert {
    condition     = google_monitoring_notification_channel.email.type == "email" && google_monitoring_notification_channel.email.labels.email_address == "oncall@example.com"
    error_message = "The channel must send e-mail to alert_email."
  }
  assert {
    condition = alltrue([
      for name, policy in google_monitoring_alert_policy.all :
      policy.severity == { page = "CRITICAL", ticket = "WARNING" }[local.alert_rules[name].labels.severity]
    ])
    error_message = "A page must be critical, a ticket a warning."
  }
  assert {
    condition = alltrue([
      for name, policy in google_monitoring_alert_policy.all :
      endswith(policy.documentation[0].content, local.alert_rules[name].annotations.action) &&
      !strcontains(policy.documentation[0].content, "{{")
    ])
    error_message = "The message must end with what to do, without Prometheus' templates."
  }
}

run "metrics_that_are_missing_notify" {
  command = plan
  assert {
    condition     = contains([for policy in google_monitoring_alert_policy.all : one(policy.conditions).condition_prometheus_query_language[0].query], "absent(gisttracker_healthy)")
    error_message = "A service that is not scraped must notify."
  }
  assert {
    condition     = anytrue([for rule in local.alert_rules : strcontains(rule.expr, "not_running") && rule.labels.severity == "page"])
    error_message = "A CronJob that does not run must notify."
  }
}

run "a_service_that_is_unreachable_notifies" {
  assert {
    condition     = google_monitoring_uptime_check_config.web.monitored_resource[0].labels.host == "gists.example.com" && google_monitoring_uptime_check_config.web.http_check[0].path == "/readyz"
    error_message = "The check must request /readyz of the domain."
  }
  assert {
    condition     = google_monitoring_uptime_check_config.web.http_check[0].use_ssl && google_monitoring_uptime_check_config.web.http_check[0].validate_ssl
    error_message = "The check must verify the certificate."
  }
  assert {
    condition     = strcontains(google_monitoring_alert_policy.unreachable.conditions[0].condition_threshold[0].filter, google_monitoring_uptime_check_config.web.uptime_check_id)
    error_message = "The policy must watch this check."
  }
}
