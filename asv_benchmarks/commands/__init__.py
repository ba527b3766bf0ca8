"""What the Makefile's bench targets run, each as ``python -m commands.<name>`` in the folder above."""
