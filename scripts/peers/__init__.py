"""The contenders of compare_peers.py: one file each, all with the same three methods."""
