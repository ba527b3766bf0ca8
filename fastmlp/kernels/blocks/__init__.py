"""Blocks: what each kind of op does. One file holds its kernels, the private fields of its ops, and how those are laid out."""
