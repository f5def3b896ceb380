"""A small canvas for SVG pictures: boxes, arrows, dots and words on a white ground."""

from pathlib import Path
from xml.sax.saxutils import escape

INK, SOFT, LINE = "#1c2433", "#5b6475", "#c3cad6"
BLUE, ORANGE, GREEN, RED = "#2f6fd0", "#d9822b", "#2b8f74", "#b8423a"
PAPER = {BLUE: "#e8f0fc", ORANGE: "#fdf1e3", GREEN: "#e4f4ef", RED: "#fbe9e7", LINE: "#f3f5f8"}
LINE_HEIGHT = 18  # pixels between the lines of a text


class Canvas:
    """Collects SVG elements; coordinates are pixels from the upper left corner.

    Args:
        title: what the picture shows, for readers who cannot see it.
    """

    def __init__(self, width: int, height: int, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self.elements: list[str] = []

    def add_text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        color: str = INK,
        anchor: str = "middle",
        size: int = 14,
    ) -> None:
        """Write words, centred on x by default; a newline starts a new line below."""
        for index, line in enumerate(words.split("\n")):
            self.elements.append(
                f'<text x="{x:g}" y="{y + index * LINE_HEIGHT:g}" fill="{color}" font-size="{size}" '
                f'text-anchor="{anchor}">{escape(line)}</text>'
            )

    def add_box(
        self, x: float, y: float, width: float, height: float, words: str, color: str = LINE
    ) -> None:
        """Draw a box with words in its middle; the first line is dark, further ones are softer."""
        self.elements.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" '
            f'fill="{PAPER[color]}" stroke="{color}" stroke-width="1.5"/>'
        )
        lines = words.split("\n")
        top = y + height / 2 + 5 - (len(lines) - 1) * LINE_HEIGHT / 2
        for index, line in enumerate(lines):
            tone, size = (INK, 14) if index == 0 else (SOFT, 12)
            self.add_text(x + width / 2, top + index * LINE_HEIGHT, line, color=tone, size=size)

    def add_line(
        self,
        *points: tuple[float, float],
        color: str = LINE,
        width: float = 1.5,
        dashed: bool = False,
    ) -> None:
        """Join points by straight lines."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        self.elements.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{width:g}"{dashes}/>'
        )

    def add_arrow(self, *points: tuple[float, float], color: str = SOFT) -> None:
        """Join points by straight lines, with an arrow's head at the last one."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        self.elements.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.5" '
            'marker-end="url(#head)"/>'
        )

    def add_dot(self, x: float, y: float, color: str, radius: float = 5) -> None:
        """Draw a filled circle."""
        self.elements.append(f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" fill="{color}"/>')

    def add_bar(self, x: float, y: float, width: float, height: float, color: str) -> None:
        """Draw a filled bar without words."""
        self.elements.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="2" fill="{color}"/>'
        )

    def save(self, path: Path) -> None:
        """Write the picture; the same elements give the same bytes."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" font-family="system-ui, sans-serif" role="img">\n'
            f"<title>{escape(self.title)}</title>\n"
            '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
            f'markerHeight="7" orient="auto-start-reverse"><path d="M0 0 10 5 0 10z" fill="{SOFT}"/>'
            "</marker></defs>\n"
            '<rect width="100%" height="100%" fill="#ffffff"/>\n'
        )
        path.write_text(head + "\n".join(self.elements) + "\n</svg>\n", encoding="utf-8")
