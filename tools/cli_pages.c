#include "tools/cli_pages.h"

#include "common/msg.h"

/* Reads the head of a page: the next cursor, which is kept, and how many entries follow. */
static bool read_head(struct sc_cli_pages *pages)
{
    struct sc_mp *result = &pages->reply.result;
    struct sc_slice cursor = {NULL, 0};
    if (sc_mp_peek(result) == SC_MP_NIL) {
        sc_mp_nil(result);
        pages->ended = true;
    } else if (!sc_mp_bytes(result, &cursor) || cursor.size == 0) {
        return false;
    }
    pages->cursor.size = 0;
    sc_buf_append_slice(&pages->cursor, cursor);
    return sc_mp_array(result, &pages->count);
}

int sc_cli_pages_next(struct sc_cli *cli, struct sc_cli_pages *pages, const char *subject,
                      bool *more)
{
    *more = !(pages->begun && pages->ended);
    if (!*more) {
        return SC_CLI_DONE;
    }
    pages->begun = true;
    pages->count = 0;
    sc_cli_reply_fini(&pages->reply);
    struct sc_buf request = {0};
    struct sc_msg_scan scan = {
        .cursor = sc_buf_slice(&pages->cursor),
        .prefix = pages->prefix,
        .limit = pages->limit,
        .values = pages->values,
    };
    sc_msg_put_scan(&request, &scan, false);
    int code = sc_cli_ask(cli, subject, sc_buf_slice(&request), &pages->reply);
    sc_buf_fini(&request);
    if (code == SC_CLI_DONE && !read_head(pages)) {
        code = sc_cli_garbled(cli, subject);
    }
    return code;
}

bool sc_cli_pages_entry(struct sc_cli_pages *pages, struct sc_slice *key, struct sc_slice *value)
{
    struct sc_mp *result = &pages->reply.result;
    uint32_t parts = 0;
    pages->count--;
    if (!pages->values) {
        return sc_mp_bytes(result, key);
    }
    return sc_mp_array(result, &parts) && parts == 2 && sc_mp_bytes(result, key) &&
           sc_mp_skip(result, value);
}

void sc_cli_pages_fini(struct sc_cli_pages *pages)
{
    sc_cli_reply_fini(&pages->reply);
    sc_buf_fini(&pages->cursor);
}
