"""Threads that compute, on a machine whose cores others use, too."""

from __future__ import annotations

import os

import torch

BUSY = 1.5
"""Processes that want to run for each core, in the mean of the last minute."""


def busy_machine() -> list[str]:
    """Return a line for people where threads would mostly wait for each other; none elsewhere.

    Threads of one product wait for the slowest, and keep their core busy meanwhile: on two cores
    that others used, too, the demonstration took twelve times as long by two threads as by one.
    """
    threads = torch.get_num_threads()
    if threads < 2 or "OMP_NUM_THREADS" in os.environ or not hasattr(os, "getloadavg"):
        return []
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load < BUSY * cores:
        return []
    return [
        f"this machine is busy (load {load:.0f}, {cores} cores): {threads} threads may take many "
        "times longer than one; set OMP_NUM_THREADS=1 if this is slow"
    ]
