"""Limits that nothing meets are an error at once, not after a night."""

from __future__ import annotations

from edge_runtime.errors import FerEdgeError
from train.search.cost import Cost, Costs, describe
from train.search.study import Plan


def check_limits(plan: Plan, costs: Costs) -> None:
    """Raises FerEdgeError if no network of the space is below the limits."""
    if not plan.limits:
        return
    found: list[Cost] = []
    for network in plan.space.smallest():
        cost = costs.of(network)
        if all(value <= 0 for value in cost.excess(plan.limits).values()):
            return
        found.append(cost)
    for name, limit in plan.limits.items():
        least = min(getattr(cost, name) for cost in found)
        if least > limit:
            raise FerEdgeError(
                f"no network of the search is below --max-{name}"
                f" {describe(name, limit)}: the smallest has {describe(name, least)};"
                " raise it, or search smaller ones (--arch, --width, --size)"
            )
    raise FerEdgeError(
        "no network of the search is below all limits at once: raise one, or search"
        " smaller ones (--arch, --width, --size)"
    )
