"""Turns Debian's package lists (`apt-cache dumpavail` on standard input) into JSON lines: the key
is the name of the package, the value a map of its fields. Prints to standard error what it did.

A field's further lines are kept, without the blank that marks them. Of several versions of a
package all are written: the last one stays when they are imported.
"""

import json
import sys


def paragraphs(lines):
    """One list of lines for each paragraph."""
    paragraph = []
    for line in lines:
        line = line.rstrip("\n")
        if line:
            paragraph.append(line)
        elif paragraph:
            yield paragraph
            paragraph = []
    if paragraph:
        yield paragraph


def fields_of(paragraph):
    fields = {}
    name = None
    for line in paragraph:
        if line[0] in " \t":
            if name is not None:
                fields[name] += "\n" + line[1:]
        else:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
    for number in ("Size", "Installed-Size"):
        if fields.get(number, "").isdigit():
            fields[number] = int(fields[number])
    return fields


def main():
    records = 0
    names = set()
    sys.stdin.reconfigure(encoding="utf-8", errors="replace")
    sys.stdout.reconfigure(encoding="utf-8")
    for paragraph in paragraphs(sys.stdin):
        fields = fields_of(paragraph)
        name = fields.get("Package")
        if name:
            records += 1
            names.add(name)
            sys.stdout.write(json.dumps({"key": name, "value": fields}, ensure_ascii=False) + "\n")
    sys.stderr.write("%d records of %d packages" % (records, len(names)))
    if records > len(names):
        sys.stderr.write(": of packages that come several times the last one stays")
    sys.stderr.write("\n")


main()
