"""What a recording of a link should show on average, also where its arms change while it runs.

The closed forms of `distribution.model` hold for one moment; here they are averaged over the very courses that the
simulator's generator gives, so a fading or drifting link is compared with its own weather. Chance clicks and finite
samples are all that is left.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from distribution.channels.arm import ArmConditions, ArmCourse
from distribution.model import LinkModel, link_model
from distribution.outcomes import Eavesdropper
from distribution.scenario import Scenario
from distribution.simulate import part_generators

MOMENTS = 200


def mean_model(
    scenario: Scenario,
    seconds: float,
    rng: np.random.Generator,
    eavesdropper: Eavesdropper | None = None,
    *,
    moments: int = MOMENTS,
) -> LinkModel:
    """Mean rates over a recording.

    Args:
        scenario: the link.
        seconds: length of the recording.
        rng: equal to the one that the simulator is given; drawn from.
        eavesdropper: who is at work on it, if anybody.
        moments: at how many moments, evenly spread, the closed forms are evaluated where the arms change at all.

    Returns:
        A model whose rates are the averages and whose arms are those of the first moment; dispersion is taken from
        there, as no channel of ours changes it.
    """
    parts = part_generators(rng)
    alice, bob = scenario.alice.course(parts[0]), scenario.bob.course(parts[2])
    if alice.step_s is None and bob.step_s is None:
        moments = 1
    models = []
    for k in range(moments):
        t_s = (k + 0.5) * seconds / moments
        models.append(link_model(scenario, eavesdropper, (_at(alice, t_s), _at(bob, t_s))))
    return replace(
        models[0],
        pair_cps=np.mean([model.pair_cps for model in models], axis=0),
        pulse_cps=np.mean([model.pulse_cps for model in models], axis=0),
        chance_cps2=np.mean([model.chance_cps2 for model in models], axis=0),
        singles_a=np.mean([model.singles_a for model in models], axis=0),
        singles_b=np.mean([model.singles_b for model in models], axis=0),
    )


def _at(course: ArmCourse, t_s: float) -> ArmConditions:
    """Conditions of the step that holds `t_s`."""
    return course.at(0.0 if course.step_s is None else math.floor(t_s / course.step_s) * course.step_s)
