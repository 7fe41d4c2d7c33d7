/*
 * The pages of a scan, one request after the other: what scan and export share.
 */
#ifndef SC_TOOLS_CLI_PAGES_H
#define SC_TOOLS_CLI_PAGES_H

#include "tools/cli.h"

struct sc_cli_pages {
    /* Set before the first page. */
    struct sc_slice prefix; /* borrowed until fini */
    uint32_t limit; /* keys in a page at most, 1 to 10,000 */
    bool values;
    bool go_on; /* take pages of keys whose values cannot be read, rather than end there */

    /* The present page. */
    uint32_t count; /* entries that sc_cli_pages_entry has not read yet */
    int status; /* SC_OK, or why the values of its keys cannot be read: ... */
    const char *why; /* ... the sentence */

    uint64_t unreadable; /* such keys, of all pages, that were read */

    /* Private. */
    struct sc_buf cursor;
    bool begun;
    bool ended;
    struct sc_cli_reply reply;
};

/* Fetches the next page, which may be empty. *more is false when there is none left. Returns
 * SC_CLI_DONE, or the exit status after complaining in the name of `subject`. */
int sc_cli_pages_next(struct sc_cli *cli, struct sc_cli_pages *pages, const char *subject,
                      bool *more);

/* Reads the next entry of the present page: its key, and the encoded value if they were asked for
 * and can be read. Both are valid until the next page. False when the reply is not what it should
 * be. */
bool sc_cli_pages_entry(struct sc_cli_pages *pages, struct sc_slice *key, struct sc_slice *value);

void sc_cli_pages_fini(struct sc_cli_pages *pages);

#endif
