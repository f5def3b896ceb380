"""The report's sections, in the order in which they stand on the page."""

from nas.report.panel import Panel
from nas.report.panels import front, ladder, pareto, progress, seconds, settings, trials, trust

PANELS: list[Panel] = [pareto, front, ladder, trust, progress, seconds, trials, settings]
