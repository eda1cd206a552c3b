"""The world of the demo: a small, real payment service and everything around it that is not Quell.

Users (`programs.load`) pay through a balancer (`programs.balancer`) at one of three replicas (`programs.payment`,
kept alive by `programs.supervisor`), which ask a bank (`programs.bank`) and book into a SQLite ledger. A scraper
(`programs.metrics`) watches them and raises alerts. `world.World` starts and stops it all, `faults` breaks it.

This file imports nothing, because every process of the world is started through this package and must be up in
tens of milliseconds.
"""
