"""HTTP servers on loopback that behave like GitHub and Pipedrive, as far as we use them.

The tests, the demo and the benchmark share them. They need nothing but Python.
"""

from tests.standins.faults import Fault, cut_body, refuse, reset, respond, respond_after, silence, trickle
from tests.standins.github import GitHubStandIn
from tests.standins.pipedrive import PipedriveStandIn
from tests.standins.webhook import WebhookStandIn

__all__ = [
    "Fault",
    "GitHubStandIn",
    "PipedriveStandIn",
    "WebhookStandIn",
    "cut_body",
    "refuse",
    "reset",
    "respond",
    "respond_after",
    "silence",
    "trickle",
]
