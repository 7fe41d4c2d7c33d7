/* The commands that show the cluster: its map, shards and figures. */
#include "common/msg.h"
#include "tools/cli_commands.h"
#include "tools/cli_figures.h"
#include "tools/cli_map.h"
#include "tools/cli_output.h"

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
