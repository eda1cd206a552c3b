"""The words of an incident: alerts, findings, actions, events and the fold over them. Pure: no I/O, no clock."""
