"""Phase-error bounds of the literature, to compare the exact one with; no key is made by any of them here.

All three are statements about a threshold fixed beforehand: the test is passed up to an error rate delta and the
length is that of delta. n key bits, k test bits, m = n + k. They differ in how they bound the rate among the n, and
the oldest in what else it takes off; see `Bound`.
"""

from __future__ import annotations

import math
from enum import Enum


class Bound(Enum):
    """How the phase errors are bounded; only EXACT makes keys, the others are there to compare with the literature."""

    EXACT = "exact"
    SERFLING = "serfling"
    LIM2021 = "lim2021"
    TLGR2012 = "tlgr2012"

    @property
    def source(self) -> str:
        """Where it is proven."""
        return {
            Bound.EXACT: "Mannalath, Zapatero, Curty, arXiv 2410.04095",
            Bound.SERFLING: "Tomamichel, Leverrier, Quantum 1:14 (2017)",
            Bound.LIM2021: "Lim, Xu, Pan, Ekert, PRL 126:100501 (2021)",
            Bound.TLGR2012: "Tomamichel, Lim, Gisin, Renner, Nat. Commun. 3:634 (2012)",
        }[self]


def serfling_rate(n: int, k: int, qber: float, eps: float) -> float:
    """Phase-error rate bound of Tomamichel and Leverrier 2017 (Serfling): eps^2 = exp(-2 n k^2 nu^2 / ((n+k)(k+1))).

    Args:
        n, k: key bits and test bits, at least 1.
        qber: delta, the tolerated error rate of the test.
        eps: smoothing parameter.

    Returns:
        qber + nu; may exceed 1/2, where there is no key.
    """
    return qber + math.sqrt((n + k) * (k + 1.0) / (n * k * float(k)) * -math.log(eps))


def lim2021_rate(n: int, k: int, qber: float, eps: float) -> float:
    """Phase-error rate bound of Lim, Xu, Pan, Ekert (PRL 126:100501, 2021): qber + nu with, for 0 < xi < nu,

    eps^2 = exp(-2 m k xi^2 / (n + 1)) + exp(-2 G (n^2 (nu - xi)^2 - 1)),  G = 1/(w + 1) + 1/(m - w + 1),
    w = m (qber + xi). A share of eps^2 given to the first term fixes xi, then nu: one minimum over the share.
    Arguments and result as in `serfling_rate`.
    """
    m = n + k

    def nu(share: float) -> float:
        xi = math.sqrt((n + 1.0) / (2.0 * m * k) * -math.log(share * eps * eps))
        w = m * (qber + xi)
        if w >= m:
            return 1.0
        g = 1.0 / (w + 1.0) + 1.0 / (m - w + 1.0)
        return xi + math.sqrt(1.0 - math.log((1.0 - share) * eps * eps) / (2.0 * g)) / n

    return qber + min(nu(i / 64.0) for i in range(1, 64))


def tlgr2012_rate(n: int, k: int, qber: float, eps_sec: float) -> float:
    """Phase-error rate bound of Tomamichel, Lim, Gisin, Renner (Nat. Commun. 3:634, 2012), from the whole eps_sec.

    qber + mu, mu^2 = (n + k) (k + 1) / (n k^2) ln(2 / eps_sec). Their length takes off log2(2 / (eps_sec^2 eps_cor)) in
    place of verification and privacy amplification: there is no split to choose.
    """
    return qber + math.sqrt((n + k) * (k + 1.0) / (n * k * float(k)) * math.log(2.0 / eps_sec))
