"""Drives EV2Gym's own environment with one agent after another; runs where that package is installed. One JSON line."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any, Final

COUNTED: Final = (
    "total_profits", "total_energy_charged", "total_energy_discharged", "energy_user_satisfaction",
    "min_energy_user_satisfaction", "total_transformer_overload", "total_ev_served",
)  # fmt: skip


def main(scenario: str, seeds: list[int]) -> list[dict[str, Any]]:
    """Every agent on every seed, over the scenario's own length: EV2Gym never ends drawing cars for a short one."""
    warnings.simplefilter("ignore")  # of EV2Gym's own code
    import ev2gym  # noqa: PLC0415 - only here
    import numpy as np  # noqa: PLC0415 - the same
    import yaml  # noqa: PLC0415 - the same
    from ev2gym.baselines.heuristics import ChargeAsFastAsPossible, ChargeAsLateAsPossible, RoundRobin  # noqa: PLC0415 - the same
    from ev2gym.models.ev2gym_env import EV2Gym  # noqa: PLC0415 - the same

    from plugcast.simulate.ev2gym import PlugcastAgent  # noqa: PLC0415 - the same

    package = Path(ev2gym.__file__).parent
    settings = yaml.safe_load((package / "example_config_files" / f"{scenario}.yaml").read_text(encoding="utf-8"))
    settings["ev"].setdefault("min_emergency_battery_capacity", 0)
    made = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scenario.yaml"
        path.write_text(yaml.safe_dump(settings), encoding="utf-8")
        agents: dict[str, Any] = {
            "charge as fast as possible": lambda env: ChargeAsFastAsPossible(env=env),
            "charge as late as possible": lambda env: ChargeAsLateAsPossible(env=env),
            "round robin": lambda env: RoundRobin(env=env),
            "plugcast": PlugcastAgent,
        }
        with contextlib.chdir(package.parent):  # its settings name files from there
            for seed in seeds:
                for name, build in agents.items():
                    env = EV2Gym(config_file=str(path), seed=seed, save_replay=False, save_plots=False, verbose=False)
                    env.reset(seed=seed)
                    agent, spent, done = build(env), [], False
                    while not done:
                        begun = time.process_time()
                        action = np.array(agent.get_action(env), dtype=float)
                        spent.append(time.process_time() - begun)
                        done = bool(env.step(action)[2])
                    stats = {key: float(env.stats[key]) for key in COUNTED}
                    who = {"agent": name, "seed": seed, "steps": len(spent)}
                    made.append(who | {"cpu_ms_per_step": 1e3 * float(np.median(spent))} | stats)
    return made


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        found = main(sys.argv[1], [int(seed) for seed in sys.argv[2].split(",")])
    sys.stdout.write(json.dumps(found) + "\n")
