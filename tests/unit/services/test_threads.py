"""Threads: what the control groups allow, and libraries held to it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from plugcast.services.threads import BY_QUOTA, ONE_EACH, cpu_quota, pin

if TYPE_CHECKING:
    from pathlib import Path


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")


def test_libraries_are_held_to_the_quota_unless_the_user_says_otherwise() -> None:
    environment = {"POLARS_MAX_THREADS": "7"}
    pin(environment)
    assert environment["POLARS_MAX_THREADS"] == "7"
    assert environment["OMP_NUM_THREADS"] == str(cpu_quota())
    assert {environment[name] for name in ONE_EACH} == {"1"}
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert set(environment) == {*ONE_EACH, *BY_QUOTA, "OMP_WAIT_POLICY"}


def test_without_control_groups_the_usable_cores_count(tmp_path: Path) -> None:
    assert cpu_quota(root=tmp_path, cores=8) == 8


def test_this_machine_gives_at_least_one_and_at_most_its_cores() -> None:
    assert 1 <= cpu_quota() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("content", "threads"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("250000 100000", 2),
        ("50000 100000", 1),
        ("9900000 100000", 8),
        ("", 8),
    ],
)
def test_version_2_limits(tmp_path: Path, content: str, threads: int) -> None:
    _write(tmp_path / "proc/self/cgroup", "0::/\n")
    _write(tmp_path / "sys/fs/cgroup/cpu.max", content + "\n")
    assert cpu_quota(root=tmp_path, cores=8) == threads


def test_the_tightest_level_wins(tmp_path: Path) -> None:
    _write(tmp_path / "proc/self/cgroup", "0::/user.slice/app.service\n")
    _write(tmp_path / "sys/fs/cgroup/user.slice/cpu.max", "300000 100000\n")
    _write(tmp_path / "sys/fs/cgroup/user.slice/app.service/cpu.max", "max 100000\n")
    assert cpu_quota(root=tmp_path, cores=8) == 3


@pytest.mark.parametrize(("quota", "threads"), [("-1", 8), ("400000", 4)])
def test_version_1_limits_of_a_container_that_sees_its_group_as_the_top(
    tmp_path: Path, quota: str, threads: int
) -> None:
    _write(tmp_path / "proc/self/cgroup", "4:memory:/docker/a:b\n2:cpu,cpuacct:/docker/a:b\n")
    _write(tmp_path / "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", quota + "\n")
    _write(tmp_path / "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n")
    assert cpu_quota(root=tmp_path, cores=8) == threads
