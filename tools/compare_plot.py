"""Bars of what tools/compare has measured, as SVG: a chart for each setting."""

from html import escape

from compare_report import measured, median, number, values_of

COLOURS = ("#0b6e99", "#d9822b", "#8f8f8f", "#6bb3d1", "#f0bd84", "#8a4fa3", "#2f7d4f",
           "#b5443c", "#333333")  # in order of appearance
WIDTH, LEFT, RIGHT, BAR, GAP = 860, 300, 90, 15, 14


def text(x, y, words, size=12, anchor="start", weight="normal", colour="#222"):
    return ('<text x="%.0f" y="%.0f" font-size="%d" text-anchor="%s" font-weight="%s" fill="%s">'
            '%s</text>' % (x, y, size, anchor, weight, colour, escape(words)))


def rectangle(x, y, width, height, colour):
    return '<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>' % (x, y, width, height,
                                                                              colour)


def line(x1, y1, x2, y2, colour="#222"):
    return '<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>' % (x1, y1, x2, y2, colour)


def bars(row, measurements, y, colours):
    """A row's bars, scaled to its own greatest value, with least and most as whiskers."""
    shown = [(c.label, values_of(measurements, row, c.label)) for c in row.contenders]
    shown = [(label, values) for label, values in shown if values]
    most = max(max(values) for _, values in shown)
    room = WIDTH - LEFT - RIGHT
    height = len(shown) * BAR
    parts = [text(LEFT - 10, y + height / 2 + 4, row.title, anchor="end")]
    for label, values in shown:
        length = room * median(values) / most
        parts.append(rectangle(LEFT, y, length, BAR - 2, colours[label]))
        low, high = (LEFT + room * edge / most for edge in (min(values), max(values)))
        middle = y + (BAR - 2) / 2
        parts += [line(low, middle, high, middle), line(low, middle - 3, low, middle + 3),
                  line(high, middle - 3, high, middle + 3)]
        parts.append(text(max(LEFT + length, high) + 6, y + BAR - 4, number(median(values)), 11))
        y += BAR
    return parts, y + GAP


def legend(colours):
    """As many lines as it takes, and where they end."""
    parts, x, y = [], 12, 34
    for label, colour in colours.items():
        width = 34 + 6.2 * len(label)
        if x > 12 and x + width > WIDTH:
            x, y = 12, y + 18
        parts += [rectangle(x, y, 11, 11, colour), text(x + 16, y + 10, label, 11)]
        x += width
    return parts, y + 11


def chart(title, rows, measurements):
    """The SVG of one setting; a row of latencies says so in its title."""
    rows = measured(rows, measurements)
    labels = dict.fromkeys(c.label for row in rows for c in row.contenders)
    colours = {label: COLOURS[at % len(COLOURS)] for at, label in enumerate(labels)}
    parts, y = legend(colours)
    y += GAP
    for row in rows:
        more, y = bars(row, measurements, y, colours)
        parts += more
    head = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" '
            'font-family="Helvetica, Arial, sans-serif">' % (WIDTH, y),
            rectangle(0, 0, WIDTH, y, "#ffffff"), text(12, 22, title, 14, weight="bold")]
    return "\n".join(head + parts + ["</svg>", ""])
