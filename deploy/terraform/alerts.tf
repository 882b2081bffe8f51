# The alert rules of deploy/alerts.yaml as Cloud Monitoring policies, which send e-mail to var.alert_email.
locals {
  alert_rules = {
    for rule in yamldecode(file("${path.module}/../alerts.yaml")).groups[0].rules : rule.alert => rule
  }
}

resource "google_monitoring_notification_channel" "email" {
  display_name = "gisttracker"
  type         = "email"
  labels       = { email_address = var.alert_email }
  depends_on   = [google_project_service.required]
}

resource "google_monitoring_alert_policy" "all" {
  for_each              = local.alert_rules
  display_name          = "gisttracker: ${each.key}"
  combiner              = "OR"
  severity              = each.value.labels.severity == "page" ? "CRITICAL" : "WARNING"
  notification_channels = [google_monitoring_notification_channel.email.name]
  user_labels           = { severity = each.value.labels.severity }
  conditions {
    display_name = each.key
    condition_prometheus_query_language {
      query               = each.value.expr
      duration            = each.value.for
      evaluation_interval = "60s"
      rule_group          = "gisttracker"
      alert_rule          = each.key
      # The policies exist before the first deployment, and so before the metrics.
      disable_metric_validation = true
    }
  }
  alert_strategy {
    auto_close = "86400s"
  }
  documentation {
    mime_type = "text/markdown"
    subject   = "gisttracker: ${each.key}"
    # Cloud Monitoring has variables of its own in place of Prometheus' templates.
    content = "${replace(each.value.annotations.summary, " ({{ $labels.code }})", "")}. ${each.value.annotations.action}"
  }
  depends_on = [google_project_service.required]
}

# The rules above cannot see a broken address, certificate or load balancer; this check asks from outside.
resource "google_monitoring_uptime_check_config" "web" {
  display_name = "gisttracker"
  timeout      = "10s"
  period       = "300s"
  http_check {
    path         = "/readyz"
    port         = 443
    use_ssl      = true
    validate_ssl = true
  }
  monitored_resource {
    type   = "uptime_url"
    labels = { project_id = var.project, host = var.domain }
  }
  depends_on = [google_project_service.required]
}

resource "google_monitoring_alert_policy" "unreachable" {
  display_name          = "gisttracker: Unreachable"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = [google_monitoring_notification_channel.email.name]
  user_labels           = { severity = "page" }
  conditions {
    display_name = "Unreachable"
    condition_threshold {
      filter = join(" AND ", [
        "metric.type = \"monitoring.googleapis.com/uptime_check/check_passed\"",
        "metric.labels.check_id = \"${google_monitoring_uptime_check_config.web.uptime_check_id}\"",
        "resource.type = \"uptime_url\"",
      ])
      # More than one region must fail.
      comparison      = "COMPARISON_GT"
      threshold_value = 1
      duration        = "300s"
      aggregations {
        alignment_period     = "1200s"
        per_series_aligner   = "ALIGN_NEXT_OLDER"
        cross_series_reducer = "REDUCE_COUNT_FALSE"
        group_by_fields      = ["resource.label.host"]
      }
    }
  }
  alert_strategy {
    auto_close = "86400s"
  }
  documentation {
    mime_type = "text/markdown"
    subject   = "gisttracker: Unreachable"
    content   = "https://${var.domain}/readyz fails from more than one region. Check DNS, the certificate, the Gateway and the web pods."
  }
}
