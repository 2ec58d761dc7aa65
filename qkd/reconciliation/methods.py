"""The methods that this installation has: for each name that a session may ask for, the two roles that run it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qkd.errors import ParameterError
from qkd.exchange.steps import Steps
from qkd.randomness import SecretBits
from qkd.reconciliation import cascade, ldpc
from qkd.reconciliation.adaption import SHORTEST, SIZES
from qkd.reconciliation.choice import Method
from qkd.reconciliation.frame import Frame, Reconciled

Corrector = Callable[[Sequence[Frame], SecretBits], Steps[Reconciled]]


@dataclass(frozen=True, slots=True)
class Roles:
    """Both sides of a method.

    Attributes:
        alice, bob: frames and secret bits to `Reconciled`.
        frame_bits: longest frame that strings are cut into.
        least_bits: shortest string that can be corrected.
        two_way: Bob's answers depend on his string.
    """

    alice: Corrector
    bob: Corrector
    frame_bits: int
    least_bits: int
    two_way: bool


def _cascade(preset: cascade.CascadePreset) -> Roles:
    return Roles(
        lambda frames, secrets: cascade.alice(frames, preset, secrets),
        lambda frames, _secrets: cascade.bob(frames, preset),
        frame_bits=preset.frame_bits,
        least_bits=1,
        two_way=True,
    )


LDPC_FRAME_BITS = 65536


def _ldpc(preset: ldpc.LdpcPreset) -> Roles:
    return Roles(
        lambda frames, secrets: ldpc.alice(frames, preset, secrets),
        lambda frames, _secrets: ldpc.bob(frames, preset),
        frame_bits=LDPC_FRAME_BITS,
        least_bits=min(SIZES) // SHORTEST,
        two_way=bool(preset.steps),
    )


METHODS: dict[Method, Roles] = {
    **{Method(f"cascade/{name}"): _cascade(preset) for name, preset in cascade.PRESETS.items()},
    **{Method(f"ldpc/{name}"): _ldpc(preset) for name, preset in ldpc.PRESETS.items()},
}


def roles(method: Method) -> Roles:
    """Both sides of a method.

    Raises:
        ParameterError: this installation does not have it.
    """
    if method not in METHODS:
        raise ParameterError(
            f"this installation has no error correction called {method.value}",
            hint=f"it has {', '.join(known.value for known in METHODS)}",
        )
    return METHODS[method]
