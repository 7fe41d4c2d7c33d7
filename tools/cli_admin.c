/* The commands that look after the cluster: its map, figures, shards and moves. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/json.h"
#include "common/limits.h"
#include "common/msg.h"
#include "tools/cli_commands.h"
#include "tools/cli_figures.h"
#include "tools/cli_map.h"
#include "tools/cli_output.h"

#define WATCH_MS 500

/* Asks [op] and gives the extent of its one result. Free the reply when SC_CLI_DONE. */
static int ask_map(struct sc_cli *cli, enum sc_op op, struct sc_cli_reply *reply,
                   struct sc_slice *result)
{
    struct sc_buf request = {0};
    sc_msg_put_op(&request, op, 0);
    int code = sc_cli_ask(cli, sc_op_name(op), sc_buf_slice(&request), reply);
    sc_buf_fini(&request);
    if (code == SC_CLI_DONE &&
        (sc_mp_peek(&reply->result) != SC_MP_MAP || !sc_mp_skip(&reply->result, result))) {
        sc_cli_reply_fini(reply);
        code = sc_cli_garbled(cli, sc_op_name(op));
    }
    return code;
}

int sc_cli_admin_map(struct sc_cli *cli, const struct sc_cli_args *args)
{
    (void)args;
    struct sc_cli_reply reply;
    struct sc_slice result = {NULL, 0};
    int code = ask_map(cli, SC_OP_MAP, &reply, &result);
    if (code != SC_CLI_DONE) {
        return code;
    }
    struct sc_cli_map map;
    if (!sc_cli_output_pretty(cli)) {
        code = sc_cli_output_json(cli, result) ? code : sc_cli_garbled(cli, "map");
    } else if (sc_cli_map_read(&map, result)) {
        sc_cli_map_print(cli, &map);
        sc_cli_map_fini(&map);
    } else {
        code = sc_cli_garbled(cli, "map");
    }
    sc_cli_reply_fini(&reply);
    return code;
}

int sc_cli_admin_shards(struct sc_cli *cli, const struct sc_cli_args *args)
{
    (void)args;
    struct sc_cli_reply map_reply;
    struct sc_cli_reply stats_reply;
    struct sc_slice map_result = {NULL, 0};
    struct sc_slice stats_result = {NULL, 0};
    struct sc_cli_map map;
    int code = ask_map(cli, SC_OP_MAP, &map_reply, &map_result);
    if (code != SC_CLI_DONE) {
        return code;
    }
    code = ask_map(cli, SC_OP_STATS, &stats_reply, &stats_result);
    if (code == SC_CLI_DONE) {
        if (sc_cli_map_read(&map, map_result)) {
            sc_cli_map_add_stats(&map, stats_result);
            sc_cli_map_print_shards(cli, &map);
            sc_cli_map_fini(&map);
        } else {
            code = sc_cli_garbled(cli, "shards");
        }
        sc_cli_reply_fini(&stats_reply);
    }
    sc_cli_reply_fini(&map_reply);
    return code;
}

int sc_cli_admin_stats(struct sc_cli *cli, const struct sc_cli_args *args)
{
    (void)args;
    struct sc_cli_reply reply;
    struct sc_slice result = {NULL, 0};
    int code = ask_map(cli, SC_OP_STATS, &reply, &result);
    if (code != SC_CLI_DONE) {
        return code;
    }
    bool good = sc_cli_output_pretty(cli) ? sc_cli_figures_print(cli, result)
                                          : sc_cli_output_json(cli, result);
    sc_cli_reply_fini(&reply);
    return good ? code : sc_cli_garbled(cli, "stats");
}

/* ---- shard add, shard remove ---- */

int sc_cli_admin_shard(struct sc_cli *cli, const struct sc_cli_args *args)
{
    struct sc_buf request = {0};
    struct sc_cli_reply reply;
    struct sc_slice value = {NULL, 0};
    uint64_t id = 0;
    const char *subject = "shard add";
    if (strcmp(args->words[0], "add") == 0) {
        sc_msg_put_op(&request, SC_OP_SHARD_ADD, 1);
        sc_mp_put_cstr(&request, args->words[1]);
    } else if (strcmp(args->words[0], "remove") == 0) {
        subject = "shard remove";
        if (!sc_cli_args_uint(args->words[1], 1, UINT64_MAX, &id)) {
            return sc_cli_complain(cli, SC_CLI_USAGE,
                                   "shard remove: %.60s is no id; `shardcask shards` lists them",
                                   args->words[1]);
        }
        sc_msg_put_op(&request, SC_OP_SHARD_REMOVE, 1);
        sc_mp_put_uint(&request, id);
    } else {
        return sc_cli_complain(cli, SC_CLI_USAGE, "usage: shard add URL | shard remove ID");
    }
    int code = sc_cli_ask(cli, subject, sc_buf_slice(&request), &reply);
    sc_buf_fini(&request);
    if (code != SC_CLI_DONE) {
        return code;
    }
    if (sc_mp_peek(&reply.result) == SC_MP_NONE) {
        fputs("\"ok\"\n", cli->out);
    } else if (!sc_mp_skip(&reply.result, &value) || !sc_cli_output_json(cli, value)) {
        code = sc_cli_garbled(cli, subject);
    }
    sc_cli_reply_fini(&reply);
    return code;
}

/* ---- rebalance ---- */

/* Writes the request that the options ask for. */
static bool put_rebalance(const struct sc_cli_args *args, struct sc_buf *request, char *why)
{
    const char *rate = sc_cli_args_option(args, "rate");
    bool pause = sc_cli_args_flag(args, "pause");
    bool resume = sc_cli_args_flag(args, "resume");
    bool cancel = sc_cli_args_flag(args, "cancel");
    uint64_t bytes = 0;
    uint32_t options = (uint32_t)((pause || resume) + cancel + (rate != NULL));
    if (pause && resume) {
        sc_fail(why, SC_BADREQUEST, "--pause and --resume exclude each other");
        return false;
    }
    if (rate != NULL && !sc_cli_args_uint(rate, 0, UINT64_MAX, &bytes)) {
        sc_fail(why, SC_BADREQUEST, "--rate %.60s is no number of bytes", rate);
        return false;
    }
    sc_msg_put_op(request, SC_OP_REBALANCE, options > 0 ? 1 : 0);
    if (options > 0) {
        sc_mp_put_map(request, options);
    }
    if (pause || resume) {
        sc_mp_put_cstr(request, "pause");
        sc_mp_put_bool(request, pause);
    }
    if (cancel) {
        sc_mp_put_cstr(request, "cancel");
        sc_mp_put_bool(request, true);
    }
    if (rate != NULL) {
        sc_mp_put_cstr(request, "bytes_per_second");
        sc_mp_put_uint(request, bytes);
    }
    return true;
}

static void wait_a_little(void)
{
    struct timespec pause = {.tv_nsec = WATCH_MS * 1000000L};
    nanosleep(&pause, NULL);
}

/* Prints the state of the moves when it differs from the last one printed. */
static int show_moves(struct sc_cli *cli, const struct sc_cli_reply *reply, struct sc_buf *shown,
                      struct sc_slice *state)
{
    struct sc_mp mp = reply->result;
    struct sc_slice result = {NULL, 0};
    if (!sc_mp_skip(&mp, &result) || !sc_cli_figures_find(result, "state", state)) {
        return sc_cli_garbled(cli, "rebalance");
    }
    if (sc_slice_equal(sc_buf_slice(shown), result)) {
        return SC_CLI_DONE;
    }
    sc_buf_reset(shown, SIZE_MAX);
    sc_buf_append_slice(shown, result);
    bool good = sc_cli_output_pretty(cli) ? sc_cli_figures_print(cli, result)
                                          : sc_cli_output_json(cli, result);
    fflush(cli->out);
    return good ? SC_CLI_DONE : sc_cli_garbled(cli, "rebalance");
}

/* Asks once, or until the moves have come to an end. The first request carries the options. */
static int rebalance(struct sc_cli *cli, struct sc_buf *request, bool watch)
{
    struct sc_buf shown = {0};
    int code = SC_CLI_DONE;
    bool idle = false;
    while (code == SC_CLI_DONE && !idle) {
        struct sc_cli_reply reply;
        struct sc_slice state = {NULL, 0};
        code = sc_cli_ask(cli, "rebalance", sc_buf_slice(request), &reply);
        if (code != SC_CLI_DONE) {
            break;
        }
        code = show_moves(cli, &reply, &shown, &state);
        if (code == SC_CLI_DONE) {
            struct sc_mp mp = sc_mp(state);
            struct sc_slice text = {NULL, 0};
            (void)sc_mp_str(&mp, &text);
            idle = !watch || sc_slice_equal(text, sc_slice_str("idle"));
        }
        sc_cli_reply_fini(&reply);
        if (sc_cli_interrupted()) {
            code = sc_cli_complain(cli, SC_CLI_ERROR,
                                   "rebalance: no longer watching; the moves go on");
        }
        if (code == SC_CLI_DONE && !idle) {
            sc_buf_reset(request, SIZE_MAX);
            sc_msg_put_op(request, SC_OP_REBALANCE, 0);
            wait_a_little();
        }
    }
    sc_buf_fini(&shown);
    return code;
}

int sc_cli_admin_rebalance(struct sc_cli *cli, const struct sc_cli_args *args)
{
    char why[SC_WHY_SIZE] = "";
    struct sc_buf request = {0};
    bool watch = sc_cli_args_flag(args, "watch");
    int code = SC_CLI_USAGE;
    if (!put_rebalance(args, &request, why)) {
        sc_cli_complain(cli, code, "rebalance: %s", why);
    } else {
        if (watch) {
            sc_cli_catch_interrupts();
        }
        code = rebalance(cli, &request, watch);
    }
    sc_buf_fini(&request);
    return code;
}
