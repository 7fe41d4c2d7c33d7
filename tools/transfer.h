/*
 * Transfer: puts the records of a reader (tools/import.h) into the store, and says what it did.
 */
#ifndef SC_TOOLS_TRANSFER_H
#define SC_TOOLS_TRANSFER_H

#include "client/shardcask.h"
#include "tools/cli.h"
#include "tools/import.h"

struct sc_transfer {
    const char *subject; /* in whose name to speak: "import" */
    const char *done; /* what the figures call what was stored: "imported" */
    const char *source; /* where it comes from: the report is named after it ... */
    const char *report_path; /* ... unless this says where it goes; NULL: it does not */
    const char *again; /* what to say of repeating it, after a failure */
    struct shardcask_write options; /* of all puts; expiries are the records' own */
    bool sync; /* have the store bring everything to the disk in the end */
};

/* Transfers everything that the reader gives. With the option if_version 0 keys that are there
 * already stay, and are counted. Returns an exit status. */
int sc_transfer_run(struct sc_cli *cli, const struct sc_transfer *options,
                    const struct sc_import_format *format, struct sc_import_reader *reader);

#endif
