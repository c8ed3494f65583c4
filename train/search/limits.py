"""What is below the limits; that nothing is, is an error at once, not after a night."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace

from edge_runtime.errors import FerEdgeError
from train.search.cost import Cost, Costs, describe
from train.search.space import Network
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


def widest(plan: Plan, costs: Costs, network: Network) -> float:
    """Returns the largest width of the space at which a network is below --max-macs.

    It is the smallest of all where none is. The other limits do not count here: the
    time and the file of each width would have to be measured.
    """
    widths, limit = plan.space.widths, plan.limits.get("macs")
    if limit is None:
        return widths[-1]
    below = bisect_right(
        widths, limit, key=lambda width: costs.macs(replace(network, width=width))
    )
    return widths[max(0, below - 1)]
