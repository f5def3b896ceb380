"""The report of a search: one HTML file that holds all it needs and opens offline."""

from nas.analysis.results import front_table, table
from nas.analysis.run_state import RunState
from nas.report.html_page import Section, write_page
from nas.report.panels import PANELS
from nas.report.words import headline


def render(state: RunState) -> str:
    """Return the run as one HTML page, also when nothing has finished yet."""
    sections = [
        Section(
            title=panel.TITLE,
            note=panel.note(state),
            parts=panel.draw(panel.table(state), state),
        )
        for panel in PANELS
    ]
    return write_page(
        name=state.name,
        kind="search report",
        lead=headline(state, front_table(table(state))),
        sections=sections,
    )
