"""Benchmarks of fastmlp for asv. Lower is better everywhere; see workloads.py for the rules they follow."""
