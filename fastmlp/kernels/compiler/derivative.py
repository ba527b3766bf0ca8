"""Stop-gap."""

from fastmlp.kernels.compiler.expression import Choice, select


def derivative(value):
    def slope(out, y):
        return 2 * (out - y)

    return slope


def scaled(dy, slope):
    if isinstance(slope, Choice):
        return select(slope.condition, scaled(dy, slope.a), scaled(dy, slope.b))
    if type(slope) in (int, float) and slope == 1:
        return dy
    if type(slope) in (int, float) and slope == 0:
        return 0
    return dy * slope
