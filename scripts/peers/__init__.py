"""The parts of compare_peers.py: a file for each section, and a with_*.py for each library, all with the same methods."""
