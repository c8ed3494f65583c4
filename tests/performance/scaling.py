"""What more devices bring: a simulation with its assumptions, as Markdown tables.

    python -m tests.performance.scaling

A step of synchronous data parallel training, of N devices with B images together:

    compute   B / N images, forward and backward: six operations for each
              multiply-accumulate
    network   the gradients, by a ring: 2 (N - 1) / N of their bytes over the bandwidth,
              and 2 (N - 1) latencies; and for each BatchNorm a small sum forward and
              one backward, of 2 log2(N) latencies each: no layer goes on without them
    feed      B / N images of each device, made while the step before runs
    step      the feed, or compute and then network, whichever takes longer

Nothing is overlapped that XLA may overlap: the network's share is an upper bound.
Bandwidth, latency and the speed of the devices are assumptions. The networks are
counted; the rates of the feed are measured, by tests.performance.feed and large_set.
"""

from __future__ import annotations

import argparse
import math
from typing import NamedTuple

MACS_TO_OPERATIONS = 6


class Link(NamedTuple):
    """What connects devices: bytes and seconds."""

    name: str
    bandwidth: float
    latency_s: float


class Network(NamedTuple):
    """What is trained: counted by ``train.networks``; images of a batch."""

    name: str
    macs: float
    parameters: float
    batch_norms: int
    batch: int
    feed: float  # images a second and core


NVLINK = Link("8 GPUs of one machine, NVLink", 200e9, 10e-6)
ETHERNET_100 = Link("8 machines, a GPU each, 100 Gbit/s", 11e9, 30e-6)
ETHERNET_1 = Link("8 machines, a GPU each, 1 Gbit/s", 0.11e9, 100e-6)


class Step(NamedTuple):
    """Seconds of each part of a step."""

    compute_s: float
    network_s: float
    feed_s: float

    @property
    def total_s(self) -> float:
        """Returns the seconds of the step."""
        return max(self.compute_s + self.network_s, self.feed_s)

    @property
    def limit(self) -> str:
        """Returns what takes the longest."""
        parts = {
            "compute": self.compute_s,
            "network": self.network_s,
            "feed": self.feed_s if self.feed_s == self.total_s else 0.0,
        }
        return max(parts, key=lambda name: parts[name])


def step_of(
    net: Network, link: Link, devices: int, *, speed: float, cores: int, batch: int
) -> Step:
    """Returns the seconds of a step.

    Args:
        net: The network.
        link: What connects the devices.
        devices: How many.
        speed: Operations a second that a device reaches on this network.
        cores: Cores for each device that augment images.
        batch: Images of all devices.
    """
    own = batch / devices
    compute_s = own * net.macs * MACS_TO_OPERATIONS / speed
    network_s = 0.0
    if devices > 1:
        moved = 2 * (devices - 1) / devices * 4 * net.parameters
        ring_s = moved / link.bandwidth + 2 * (devices - 1) * link.latency_s
        sums = net.batch_norms * 4 * math.log2(devices)
        network_s = ring_s + sums * link.latency_s
    return Step(compute_s, network_s, own / (net.feed * cores))


def table(
    net: Network, link: Link, *, speed: float, cores: int, scaled: bool
) -> list[str]:
    """Returns lines of a table: images a second, and what limits them."""
    size = f"{net.batch} a device" if scaled else f"{net.batch} together"
    lines = [
        f"{net.name}, batch of {size}; {link.name}",
        "",
        "| devices | compute | network | feed | images/s | of N times one | limit |",
        "|---|---|---|---|---|---|---|",
    ]
    alone = 0.0
    for devices in (1, 2, 4, 8):
        batch = net.batch * (devices if scaled else 1)
        step = step_of(net, link, devices, speed=speed, cores=cores, batch=batch)
        rate = batch / step.total_s
        alone = alone or rate
        parts = [f"{1e3 * part:.1f} ms" for part in step]
        share = f"{rate / alone / devices:.0%}"
        cells = [str(devices), *parts, f"{rate:,.0f}", share, step.limit]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--speed", type=float, default=10e12, help="operations/s of a device (1e13)")
    add("--cores", type=int, default=8, help="cores that feed a device (8)")
    rate = "of the feed, images/s and core"
    add("--feed-small", type=float, default=36_368, help=f"48x48 {rate} (36,368)")
    add("--feed-photos", type=float, default=612, help=f"224x224 {rate} (612)")
    options = parser.parse_args()
    small = Network(
        "`fer_resnet`, 48x48", 58.49e6, 1.317e6, 18, 128, options.feed_small
    )
    photos = Network(
        "`efficientnet_lite0`, 224x224", 383.9e6, 3.422e6, 49, 64, options.feed_photos
    )
    for net in (small, photos):
        for link in (NVLINK, ETHERNET_100, ETHERNET_1):
            for scaled in (False, True):
                print(
                    "\n".join(
                        table(
                            net,
                            link,
                            speed=options.speed,
                            cores=options.cores,
                            scaled=scaled,
                        )
                    )
                )


if __name__ == "__main__":
    main()
