"""Numbers that PyTorch gives, what they are made of, and how the package is held against them."""
