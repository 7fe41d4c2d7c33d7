"""Tables and plots of what tools/scale has measured."""

from dataclasses import dataclass

from compare_plot import COLOURS, line, rectangle, text
from compare_report import median, number

MIB = 1 << 20
WIDTH, LEFT, RIGHT, PANEL, GAP = 860, 70, 20, 170, 66


@dataclass(frozen=True)
class Figure:
    name: str  # in a point
    title: str
    form: callable = number
    scale: float = 1  # what is shown is so many times smaller


@dataclass(frozen=True)
class Panel:
    title: str
    figures: tuple


def rate(name, title):
    return Figure(name, title)


def mebibytes(name, title):
    return Figure(name, title, "{:,.1f}".format, MIB)


def microseconds(name, title):
    return Figure(name, title, "{:,.0f}".format)


RATES = (rate("put", "put/s"), rate("get", "get/s"))
BATCHES = (rate("put64", "put/s, 64 at a time"), rate("get64", "get/s, 64 at a time"))
TAILS = (microseconds("put_p99", "put p99, us"), microseconds("get_p99", "get p99, us"))
MEMORY = (mebibytes("coordinator", "coordinator, MiB"), mebibytes("shards", "shards, MiB"))
A_KEY = Figure("a_key", "bytes a key, the key included", "{:,.1f}".format)


@dataclass(frozen=True)
class Shown:
    """How a series is shown."""
    title: str
    x: str
    columns: tuple
    panels: tuple


SHOWN = {
    "shards": Shown("From one shard to eight", "shards", RATES + BATCHES + TAILS + MEMORY, (
        Panel("one operation a message, operations/s", RATES),
        Panel("64 operations a message, operations/s", BATCHES),
        Panel("memory, MiB", MEMORY))),
    "connections": Shown("From one connection to a thousand", "connections",
                         RATES + BATCHES + TAILS + MEMORY, (
        Panel("one operation a message, operations/s", RATES),
        Panel("64 operations a message, operations/s", BATCHES),
        Panel("p99, one operation a message, us", TAILS))),
    "keys": Shown("From a thousand keys to twenty million", "keys", (
        rate("fill", "loaded/s"), Figure("worst", "worst put meanwhile, ms", "{:,.1f}".format)) +
        RATES + BATCHES + (MEMORY[1], A_KEY,
                                Figure("open", "start, s", "{:,.2f}".format)), (
        Panel("one operation a message, operations/s", RATES),
        Panel("64 operations a message, operations/s", BATCHES),
        Panel("memory of the shards, bytes a key", (A_KEY,)))),
    "idle": Shown("Connections that rest", "connections", (
        mebibytes("coordinator", "coordinator, MiB"), mebibytes("resident", "resident, MiB"),
        Figure("cpu", "processor, ms a second", "{:,.1f}".format)), (
        Panel("memory of the coordinator, MiB", (mebibytes("coordinator", "coordinator"),)),)),
}


def values(point, figure):
    found = point.get(figure.name)
    if found is None:
        return []
    return [value / figure.scale for value in (found if isinstance(found, list) else [found])]


def table(name, points):
    shown = SHOWN[name]
    lines = ["| %s | %s |" % (shown.x, " | ".join(figure.title for figure in shown.columns)),
             "|---:" * (1 + len(shown.columns)) + "|"]
    for point in points:
        cells = [values(point, figure) for figure in shown.columns]
        lines.append("| %s | %s |" % (point["x"], " | ".join(
            figure.form(median(cell)) if cell else "" for figure, cell in zip(shown.columns, cells))))
    return "\n".join(lines)


def report(document):
    parts = []
    for name, series in document["series"].items():
        parts += ["### " + SHOWN[name].title, "", series["what"], "", table(name, series["points"]), ""]
    return "\n".join(parts)


# ---- Plots ----

def top_of_scale(most):
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    power = 1.0
    while power * 10 <= most:
        power *= 10
    while power > most:
        power /= 10
    return next(power * step for step in (1, 2, 2.5, 5, 10) if power * step >= most)


def tick(value):
    return number(value) if value >= 1000 else "%g" % value


def title_of(which, y, colours):
    """What a panel shows, and which colour is what, in one line."""
    parts = [text(12, y, which.title + (":" if len(which.figures) > 1 else ""), 12, weight="bold")]
    x = 12 + 7 * len(which.title) + 20
    for figure in which.figures if len(which.figures) > 1 else ():
        parts += [rectangle(x, y - 10, 11, 11, colours[figure.title]),
                  text(x + 16, y, figure.title, 11)]
        x += 34 + 6.2 * len(figure.title)
    return parts


def panel(shown, which, points, y):
    """Lines from point to point, medians, with least and most as whiskers; y is the upper edge."""
    colours = {figure.title: COLOURS[at % len(COLOURS)] for at, figure in enumerate(which.figures)}
    found = {figure.title: [values(point, figure) for point in points] for figure in which.figures}
    most = max((max(cell) for row in found.values() for cell in row if cell), default=1) or 1
    top = top_of_scale(most)
    step = (WIDTH - LEFT - RIGHT) / max(1, len(points))

    def place(at, value):
        return LEFT + step * (at + 0.5), y + PANEL * (1 - value / top)

    parts = title_of(which, y - 14, colours)
    for share in (0, 0.25, 0.5, 0.75, 1):
        height = y + PANEL * (1 - share)
        parts += [line(LEFT, height, WIDTH - RIGHT, height, "#dddddd" if share else "#222"),
                  text(LEFT - 6, height + 4, tick(top * share), 10, "end")]
    for at, point in enumerate(points):
        parts.append(text(place(at, 0)[0], y + PANEL + 15, point["x"], 11, "middle"))
    parts.append(text(WIDTH - RIGHT, y + PANEL + 30, shown.x, 11, "end"))
    for title, row in found.items():
        colour, last = colours[title], None
        for at, cell in enumerate(row):
            if not cell:
                last = None
                continue
            here = place(at, median(cell))
            low, high = place(at, min(cell)), place(at, max(cell))
            parts += [line(*low, *high, colour),
                      '<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>' % (*here, colour)]
            if last is not None:
                parts.append(line(*last, *here, colour))
            last = here
    return parts, y + PANEL


def chart(name, points):
    """The SVG of one series. Points stand side by side, whatever their distance."""
    shown = SHOWN[name]
    parts, y = [], 10
    for one in shown.panels:
        more, y = panel(shown, one, points, y + GAP)
        parts += more
    y += 40
    head = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" '
            'font-family="Helvetica, Arial, sans-serif">' % (WIDTH, y),
            rectangle(0, 0, WIDTH, y, "#ffffff"), text(12, 22, shown.title, 14, weight="bold")]
    return "\n".join(head + parts + ["</svg>", ""])
