"""Durable execution: workflows, leases, the intent ledger, liveness. It has never heard of an incident."""
