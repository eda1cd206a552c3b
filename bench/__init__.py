"""How fast it is, with the command that shows it. Figures go to docs/benchmarks.md."""
