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
