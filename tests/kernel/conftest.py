"""Worlds for the contract suite, and which tests run on which kernel.

`make test` runs this directory twice, on a kernel whose driver has one switch for both directions of a port (before Linux 7.1: "coupled")
and on one with `rx_enabled` and `tx_enabled` ("independent"). The lab says in LAB_KIND which this is: it asked the driver. Two markers,
both with a reason, say what runs on one only, and a third what is seen on both even where one of them is slow:

    kernel_kind("independent", reason="…")    the other cannot show it
    one_kernel(reason="…")                    the kernel's version says nothing new here; `make long` runs it on both
    both_kernels                              also in plain QEMU, where the rest waits for `make long`
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from contract_world import ContractWorld
from sim_world import SimContractWorld

KIND = os.environ.get("LAB_KIND", "")
PART = os.environ.get("PYTEAMD_KERNEL", "all")
"""`all`; `second`: without what needs one kernel only; `few`: in a slow world, what must be seen on both; `none`: only counted."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is for the other kernel, with its reason."""
    for item in items:
        if item.get_closest_marker("kernel") and (reason := not_here(item)):
            item.add_marker(pytest.mark.skip(reason=reason))


def not_here(item: pytest.Item) -> str:
    """Why a test does not run on this kernel; "" when it does."""
    kind, one = item.get_closest_marker("kernel_kind"), item.get_closest_marker("one_kernel")
    if kind and KIND not in ("", kind.args[0]):
        return f"on {kind.args[0]} kernels: {kind.kwargs['reason']}"
    if PART != "all" and one:
        return f"on one kernel: {one.kwargs['reason']}"
    if PART == "none" or (PART == "few" and not kind and not item.get_closest_marker("both_kernels")):
        return "this world is slow; make long runs it here"
    return ""


@pytest.fixture(params=["sim", "sim-independent", pytest.param("real", marks=pytest.mark.kernel)])
def world(request: pytest.FixtureRequest) -> Iterator[ContractWorld]:
    """One empty world. Each mode of the simulated driver has its real kernel."""
    if request.param == "real":
        from real_world import RealWorld

        made: ContractWorld = RealWorld()
    else:
        made = SimContractWorld(independent=request.param == "sim-independent")
    yield made
    made.close()
