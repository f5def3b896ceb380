"""A space's decisions as Optuna's distributions: parameters are indices into the options."""

from collections.abc import Sequence

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from nas.search.model.decisions import Decision


def make_distributions(decisions: Sequence[Decision]) -> dict[str, BaseDistribution]:
    """Return a distribution a decision.

    Ordered options are integers, so that models see their order.
    """
    distributions: dict[str, BaseDistribution] = {}
    for decision in decisions:
        if decision.is_ordered:
            distributions[decision.name] = IntDistribution(0, decision.num_options - 1)
        else:
            distributions[decision.name] = CategoricalDistribution(range(decision.num_options))
    return distributions
