#include "tools/cli_pages.h"

#include "common/msg.h"

/* Takes over the page in the reply: the next cursor, which is kept, and how many entries follow. */
static bool read_head(struct sc_cli_pages *pages)
{
    const struct sc_cli_reply *reply = &pages->reply;
    struct sc_msg_reply parsed;
    struct sc_msg_page page;
    if (!sc_msg_parse_reply(sc_slice(reply->body.data, reply->body.size), &parsed) ||
        !sc_msg_parse_page(&parsed, &page)) {
        return false;
    }
    pages->ended = page.next.size == 0;
    pages->cursor.size = 0;
    sc_buf_append_slice(&pages->cursor, page.next);
    pages->count = page.count;
    pages->reply.result = page.items;
    pages->status = parsed.status;
    pages->why = reply->why;
    return true;
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
    int code = sc_cli_call(cli, sc_buf_slice(&request), &pages->reply);
    sc_buf_fini(&request);
    if (code != SC_CLI_DONE) {
        return code;
    }
    bool good = read_head(pages);
    if (pages->reply.status != SC_OK && !(good && pages->go_on)) {
        return sc_cli_refused(cli, subject, &pages->reply);
    }
    return good ? SC_CLI_DONE : sc_cli_garbled(cli, subject);
}

bool sc_cli_pages_entry(struct sc_cli_pages *pages, struct sc_slice *key, struct sc_slice *value)
{
    struct sc_mp *result = &pages->reply.result;
    uint32_t parts = 0;
    pages->count--;
    pages->unreadable += pages->status != SC_OK ? 1 : 0;
    if (!pages->values || pages->status != SC_OK) {
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
