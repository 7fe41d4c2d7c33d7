"""Medians, spreads and ratios of what tools/compare has measured, as Markdown."""

import statistics


def values_of(measurements, row, label):
    """What was measured of a contender in a row, in order of the rounds."""
    key = "p50_us" if row.measure == "p50" else "ops"
    return [m[key] for m in measurements if m["row"] == row.name and m["contender"] == label]


def median(values):
    return statistics.median(values) if values else None


def ratio(measurements, row, better, worse):
    """How much better one contender does than another, by medians; None: not both were measured."""
    ours = median(values_of(measurements, row, better.label))
    theirs = median(values_of(measurements, row, worse.label))
    if not ours or not theirs:
        return None
    return theirs / ours if row.measure == "p50" else ours / theirs


def number(value):
    if value >= 1e6:
        return "%.2fM" % (value / 1e6)
    if value >= 1e4:
        return "%.0fk" % (value / 1e3)
    return "{:,.0f}".format(value)


def with_spread(values):
    """Median and, in brackets, the least and the most."""
    if not values:
        return ""
    text = number(median(values))
    return text if len(values) == 1 else "%s (%s–%s)" % (text, number(min(values)), number(max(values)))


def measured(rows, measurements):
    return [row for row in rows if values_of(measurements, row, row.contenders[0].label)]


def compared(row, contender):
    """Whose ratio the line of a contender shows: (better, worse), see Row; None: none."""
    first, peer = row.contenders[:2]
    if contender is first:
        return None
    return (contender, peer) if contender.us else (first, contender)


def table(setting, rows, measurements):
    """One setting: a line for each row and contender."""
    lines = ["| | | median (least–most) | ratio | wanted |", "|---|---|---:|---:|---:|"]
    for row in measured(rows, measurements):
        if row.setting != setting:
            continue
        for contender in row.contenders:
            values = values_of(measurements, row, contender.label)
            if not values:
                continue
            who = compared(row, contender)
            value = ratio(measurements, row, *who) if who else None
            lines.append("| %s | %s | %s | %s | %s |" % (
                row.title if who is None else "", contender.label, with_spread(values),
                "" if value is None else "%.2f" % value,
                "" if contender.wanted is None else "%g" % contender.wanted))
    return lines


def report(settings, rows, document):
    measurements = document["measurements"]
    lines = []
    for setting in settings:
        if any(row.setting == setting for row in measured(rows, measurements)):
            lines += ["### " + setting.title, ""] + table(setting, rows, measurements) + [""]
    return "\n".join(lines)
