"""Workload names. Those of the cases and those of the examples have none in common."""

from __future__ import annotations

_CASES = """
billing orders search catalog payments invoices shipping reviews sessions checkout pricing loyalty refunds
coupons inventory returns ratings wishlist tickets support chat feeds profiles exports imports backups
ledger payroll fraud ads maps routes fleet parcels sensors alerts
"""
_EXAMPLES = """
media logs assets events metrics reports users auth gateway webhooks uploads images videos audio archive
audit cache queue jobs scheduler mailer notify analytics warehouse lake crawler indexer ranking training
inference features models registry builds artifacts releases deploys monitoring tracing dashboards forms
surveys campaigns leads contacts calendar documents wiki forum polls quizzes courses grades library bookings
hotels flights cars menu recipes kitchen clinic patients labs pharmacy claims policies quotes loans cards
wallet treasury taxes trading stocks bonds
"""

CASE_WORKLOADS = tuple(_CASES.split())
EXAMPLE_WORKLOADS = tuple(_EXAMPLES.split())
