"""Files of models: one file in the safetensors format, which holds numbers and text; nothing in it is executed.

The tensors are those of the ``state_dict``, under PyTorch's names; the metadata says, as JSON, what they belong to.
"""

from fastmlp.saving.checkpoint import Description, describe, errors_of, read, read_description, restore, values_of, write
from fastmlp.saving.compare import first_difference
from fastmlp.saving.errors import LoadError
from fastmlp.saving.tensors import load_arrays

__all__ = [
    "Description",
    "LoadError",
    "describe",
    "errors_of",
    "first_difference",
    "load_arrays",
    "read",
    "read_description",
    "restore",
    "values_of",
    "write",
]
