/*
 * What an import, or an export, left out: counted by kind, and listed in a file of JSON lines.
 *
 * A line has "line" or "offset" (and "file", in a directory): where it is; "key" if it is known;
 * "kind" and "error", the sentence; "status", the store's, when it was the store that refused. What
 * was only noted has "noted": true. Keys that have expired are counted but not listed.
 */
#ifndef SC_TOOLS_IMPORT_REPORT_H
#define SC_TOOLS_IMPORT_REPORT_H

#include <stdio.h>

#include "tools/import.h"

/* Readable: path, left_out, listed, error. */
struct sc_import_report {
    char *path; /* owned */
    uint64_t left_out;
    uint64_t listed; /* lines in the file */
    int error; /* errno of what went wrong with the file; 0: nothing */

    /* Private. */
    const struct sc_import_format *format;
    FILE *file; /* NULL: nothing to be listed yet, or it could not be written */
    uint64_t counts[SC_IMPORT_KINDS];
};

/* Prepares a report on what was done (`subject`: "import") with `source`. `path` is where, and is
 * created at once; NULL: SOURCE.import-report.jsonl in the working directory, when there is
 * something to be listed. */
void sc_import_report_init(struct sc_import_report *report, const struct sc_import_format *format,
                           const char *subject, const char *source, const char *path);

/* Counts and lists a record that was left out (by the store with this status; else 0)... */
void sc_import_report_leave_out(struct sc_import_report *report,
                                const struct sc_import_record *record, int status, const char *why);
/* ...or noted. */
void sc_import_report_note(struct sc_import_report *report, const struct sc_import_record *record,
                           const char *why);

/* Ends the file. Returns 0, or errno when it could not be written. */
int sc_import_report_close(struct sc_import_report *report);

/* Appends the counts as the encoded members "reasons" (what was left out) and "notes" of a map,
 * each a map of kind and count. Works after the close. */
void sc_import_report_put(const struct sc_import_report *report, struct sc_buf *out);

/* Closes the file and frees everything. */
void sc_import_report_fini(struct sc_import_report *report);

#endif
