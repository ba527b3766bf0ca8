"""The border: every input is checked and converted here, once, before any kernel runs.

A message says the rule, what came, and where there is one the likely fix. Wrong kinds of things raise ``TypeError``, wrong
values and shapes ``ValueError``. Conversions neither raise ``FloatingPointError`` nor warn, whatever ``np.seterr`` says: what
leaves the range of a dtype becomes infinite or zero, and the checks for finite numbers report the infinite.
"""

from fastmlp.checks.arrays import (
    as_delta,
    as_like,
    as_matrix,
    as_output,
    as_padded,
    as_returned,
    as_rows,
    check_same_length,
    overlaps,
)
from fastmlp.checks.formulas import as_constants, check_formulas, first_argument, name_of
from fastmlp.checks.losses import argument, as_columns, as_reduction, as_vector, as_weights, check_kind
from fastmlp.checks.messages import describe, full_name, missing_return, shown
from fastmlp.checks.scalars import (
    LARGEST_COUNT,
    as_flag,
    as_float_dtype,
    as_float_dtype_of,
    as_generator,
    as_loss,
    as_metric,
    as_number,
    as_pair,
    as_rate,
    as_size,
    check_mapping,
)
from fastmlp.checks.targets import as_labels, as_targets

__all__ = [
    "LARGEST_COUNT",
    "argument",
    "as_columns",
    "as_constants",
    "as_delta",
    "as_flag",
    "as_float_dtype",
    "as_float_dtype_of",
    "as_generator",
    "as_labels",
    "as_like",
    "as_loss",
    "as_matrix",
    "as_metric",
    "as_number",
    "as_output",
    "as_padded",
    "as_pair",
    "as_rate",
    "as_reduction",
    "as_returned",
    "as_rows",
    "as_size",
    "as_targets",
    "as_vector",
    "as_weights",
    "check_formulas",
    "check_kind",
    "check_mapping",
    "check_same_length",
    "describe",
    "first_argument",
    "full_name",
    "missing_return",
    "name_of",
    "overlaps",
    "shown",
]
