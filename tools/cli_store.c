/* The commands that concern the store as a whole. */
#include <inttypes.h>
#include <string.h>

#include "client/json.h"
#include "common/limits.h"
#include "common/msg.h"
#include "tools/cli_commands.h"
#include "tools/cli_output.h"
#include "tools/cli_pages.h"
#include "tools/cli_text.h"

/* Asks [op] and gives the reply when it is ok. */
static int ask_op(struct sc_cli *cli, enum sc_op op, struct sc_cli_reply *reply)
{
    struct sc_buf request = {0};
    sc_msg_put_op(&request, op, 0);
    int code = sc_cli_ask(cli, sc_op_name(op), sc_buf_slice(&request), reply);
    sc_buf_fini(&request);
    return code;
}

/* Asks [op] and prints its result; "ok" when it has none. */
static int ask_and_print(struct sc_cli *cli, enum sc_op op)
{
    struct sc_cli_reply reply;
    struct sc_slice value = {NULL, 0};
    int code = ask_op(cli, op, &reply);
    if (code != SC_CLI_DONE) {
        return code;
    }
    if (sc_mp_peek(&reply.result) == SC_MP_NONE) {
        fputs("\"ok\"\n", cli->out);
    } else if (!sc_mp_skip(&reply.result, &value) || !sc_cli_output_json(cli, value)) {
        code = sc_cli_garbled(cli, sc_op_name(op));
    }
    sc_cli_reply_fini(&reply);
    return code;
}

int sc_cli_store_ping(struct sc_cli *cli, const struct sc_cli_args *args)
{
    (void)args;
    struct sc_cli_reply reply;
    struct sc_slice name = {NULL, 0};
    struct sc_slice info = {NULL, 0};
    int code = ask_op(cli, SC_OP_PING, &reply);
    if (code != SC_CLI_DONE) {
        return code;
    }
    if (!sc_mp_str(&reply.result, &name) || !sc_slice_equal(name, sc_slice_str("shardcask")) ||
        !sc_mp_skip(&reply.result, &info) || !sc_cli_output_json(cli, info)) {
        code = sc_cli_garbled(cli, "ping");
    }
    sc_cli_reply_fini(&reply);
    return code;
}

int sc_cli_store_count(struct sc_cli *cli, const struct sc_cli_args *args)
{
    (void)args;
    return ask_and_print(cli, SC_OP_COUNT);
}

int sc_cli_store_sync(struct sc_cli *cli, const struct sc_cli_args *args)
{
    (void)args;
    return ask_and_print(cli, SC_OP_SYNC);
}

/* Asks on the terminal; true when the answer is "yes". */
static bool confirm(struct sc_cli *cli)
{
    char answer[16] = "";
    fprintf(cli->err, "Remove every key of the store at %s? Type yes to go on: ", sc_cli_url(cli));
    fflush(cli->err);
    if (fgets(answer, sizeof answer, stdin) == NULL) {
        return false;
    }
    return strcmp(answer, "yes\n") == 0;
}

int sc_cli_store_clear(struct sc_cli *cli, const struct sc_cli_args *args)
{
    if (!sc_cli_args_flag(args, "yes")) {
        if (!cli->in_terminal || !cli->err_terminal) {
            return sc_cli_complain(cli, SC_CLI_USAGE,
                                   "clear removes every key of the store at %s: say --yes if that "
                                   "is meant",
                                   sc_cli_url(cli));
        }
        if (!confirm(cli)) {
            return sc_cli_complain(cli, SC_CLI_USAGE, "nothing was removed");
        }
    }
    return ask_and_print(cli, SC_OP_CLEAR);
}

/* ---- scan ---- */

/* Prints one entry in the form that was asked for; false when the value is no msgpack. */
static bool print_entry(struct sc_cli *cli, struct sc_buf *line, struct sc_slice key,
                        const struct sc_slice *value)
{
    bool good = true;
    line->size = 0;
    if (cli->raw) {
        sc_buf_append_slice(line, key);
    } else if (value == NULL) {
        sc_json_write_key(key, line);
    } else {
        sc_buf_append(line, "{\"key\":", 7);
        sc_json_write_key(key, line);
        sc_buf_append(line, ",\"value\":", 9);
        good = sc_json_write(*value, line, NULL) == SC_OK;
        sc_buf_append(line, "}", 1);
    }
    sc_cli_output_line(cli, line);
    return good;
}

/* Prints a key whose value cannot be read. */
static void print_unreadable(struct sc_cli *cli, struct sc_buf *line, struct sc_slice key,
                             const struct sc_cli_pages *pages)
{
    char status[32];
    line->size = 0;
    sc_buf_append(line, "{\"key\":", 7);
    sc_json_write_key(key, line);
    int size = snprintf(status, sizeof status, ",\"status\":%d,\"error\":", pages->status);
    sc_buf_append(line, status, (size_t)size);
    sc_json_write_key(sc_slice_str(pages->why), line);
    sc_buf_append(line, "}", 1);
    sc_cli_output_line(cli, line);
}

/* Prints the present page, at most *left entries of it, and counts them off. */
static int print_page(struct sc_cli *cli, struct sc_cli_pages *pages, uint64_t *left)
{
    struct sc_buf line = {0};
    int code = SC_CLI_DONE;
    while (code == SC_CLI_DONE && pages->count > 0 && *left > 0) {
        struct sc_slice key = {NULL, 0};
        struct sc_slice value = {NULL, 0};
        if (!sc_cli_pages_entry(pages, &key, &value)) {
            code = sc_cli_garbled(cli, "scan");
        } else if (pages->status != SC_OK) {
            print_unreadable(cli, &line, key, pages);
        } else if (!print_entry(cli, &line, key, pages->values ? &value : NULL)) {
            code = sc_cli_garbled(cli, "scan");
        }
        (*left)--;
    }
    sc_buf_fini(&line);
    return code;
}

static int scan(struct sc_cli *cli, struct sc_cli_pages *pages, uint64_t left)
{
    bool more = true;
    int code = SC_CLI_DONE;
    if (cli->shell) {
        sc_cli_catch_interrupts();
    }
    while (code == SC_CLI_DONE && more && left > 0) {
        pages->limit = left < pages->limit ? (uint32_t)left : pages->limit;
        code = sc_cli_pages_next(cli, pages, "scan", &more);
        if (code == SC_CLI_DONE && more) {
            code = print_page(cli, pages, &left);
        }
        if (sc_cli_interrupted()) {
            return sc_cli_complain(cli, SC_CLI_ERROR, "scan: interrupted");
        }
        if (ferror(cli->out)) {
            return code;
        }
    }
    if (code == SC_CLI_DONE && pages->unreadable > 0) {
        return sc_cli_complain(cli, SC_CLI_ERROR,
                               "scan: the values of %" PRIu64 " keys cannot be read%s",
                               pages->unreadable, sc_cli_advice(SC_CORRUPT));
    }
    return code;
}

int sc_cli_store_scan(struct sc_cli *cli, const struct sc_cli_args *args)
{
    char why[SC_WHY_SIZE] = "";
    const char *prefix_word = sc_cli_args_option(args, "prefix");
    const char *limit_word = sc_cli_args_option(args, "limit");
    uint64_t left = UINT64_MAX;
    struct sc_buf prefix = {0};
    struct sc_cli_pages pages = {.values = sc_cli_args_flag(args, "values"), .go_on = true};
    int code = SC_CLI_USAGE;
    pages.limit = pages.values ? SC_SCAN_LIMIT_DEFAULT : SC_SCAN_LIMIT_MAX;
    if (cli->raw && pages.values) {
        sc_cli_complain(cli, code, "scan: --raw and --values exclude each other");
    } else if (limit_word != NULL && !sc_cli_args_uint(limit_word, 1, UINT64_MAX, &left)) {
        sc_cli_complain(cli, code, "scan: --limit %.60s is no number from 1", limit_word);
    } else if (prefix_word != NULL && *prefix_word != '\0' &&
               !sc_cli_text_key(prefix_word, &prefix, why)) {
        sc_cli_complain(cli, code, "scan: --prefix: %s", why);
    } else {
        pages.prefix = sc_buf_slice(&prefix);
        code = scan(cli, &pages, left);
    }
    sc_cli_pages_fini(&pages);
    sc_buf_fini(&prefix);
    return code;
}
