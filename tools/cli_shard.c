/* The command that changes which shards there are, or what share one should have. */
#include <string.h>

#include "common/limits.h"
#include "common/msg.h"
#include "tools/cli_commands.h"
#include "tools/cli_moves.h"
#include "tools/cli_output.h"

/* What was asked for. */
struct wish {
    enum sc_op op;
    const char *subject;
    const char *url; /* shard add */
    uint64_t id; /* the others */
    uint64_t weight; /* 0: not given */
    bool dry_run;
};

static const struct {
    const char *word;
    enum sc_op op;
    const char *subject;
    size_t words;
} kinds[] = {{"add", SC_OP_SHARD_ADD, "shard add", 2},
             {"remove", SC_OP_SHARD_REMOVE, "shard remove", 2},
             {"weight", SC_OP_SHARD_WEIGHT, "shard weight", 3}};

static int bad_weight(struct sc_cli *cli, const struct wish *wish, const char *text)
{
    return sc_cli_complain(cli, SC_CLI_USAGE,
                           "%s: the weight %.60s is no whole number from 1 to %u (100 is an "
                           "ordinary share)",
                           wish->subject, text, SC_WEIGHT_MAX);
}

static int read_operands(struct sc_cli *cli, const struct sc_cli_args *args, struct wish *wish)
{
    const char *weight = sc_cli_args_option(args, "weight");
    if (wish->op == SC_OP_SHARD_ADD) {
        wish->url = args->words[1];
    } else if (!sc_cli_args_uint(args->words[1], 1, UINT64_MAX, &wish->id)) {
        return sc_cli_complain(cli, SC_CLI_USAGE,
                               "%s: %.60s is no id; `shardcask shards` lists them", wish->subject,
                               args->words[1]);
    }
    if (weight != NULL && wish->op != SC_OP_SHARD_ADD) {
        return sc_cli_complain(cli, SC_CLI_USAGE,
                               "%s: --weight goes with `shard add`; `shard weight ID N` gives "
                               "another one to a shard that is there",
                               wish->subject);
    }
    if (wish->op == SC_OP_SHARD_WEIGHT) {
        weight = args->words[2];
    }
    if (weight != NULL && !sc_cli_args_uint(weight, 1, SC_WEIGHT_MAX, &wish->weight)) {
        return bad_weight(cli, wish, weight);
    }
    return SC_CLI_DONE;
}

static int read_wish(struct sc_cli *cli, const struct sc_cli_args *args, struct wish *wish)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(args->words[0], kinds[i].word) == 0 && args->count == kinds[i].words) {
            *wish = (struct wish){.op = kinds[i].op,
                                  .subject = kinds[i].subject,
                                  .dry_run = sc_cli_args_flag(args, "dry-run")};
            return read_operands(cli, args, wish);
        }
    }
    return sc_cli_complain(cli, SC_CLI_USAGE,
                           "usage: shard add URL | shard remove ID | shard weight ID N");
}

static void put_request(const struct wish *wish, struct sc_buf *out)
{
    bool weight_option = wish->op == SC_OP_SHARD_ADD && wish->weight > 0;
    uint32_t options = (uint32_t)weight_option + wish->dry_run;
    uint32_t arguments = wish->op == SC_OP_SHARD_WEIGHT ? 2 : 1;
    sc_msg_put_op(out, wish->op, arguments + (options > 0 ? 1 : 0));
    if (wish->op == SC_OP_SHARD_ADD) {
        sc_mp_put_cstr(out, wish->url);
    } else {
        sc_mp_put_uint(out, wish->id);
    }
    if (wish->op == SC_OP_SHARD_WEIGHT) {
        sc_mp_put_uint(out, wish->weight);
    }
    if (options > 0) {
        sc_mp_put_map(out, options);
    }
    if (weight_option) {
        sc_mp_put_cstr(out, "weight");
        sc_mp_put_uint(out, wish->weight);
    }
    if (wish->dry_run) {
        sc_mp_put_cstr(out, "dry_run");
        sc_mp_put_bool(out, true);
    }
}

int sc_cli_shard(struct sc_cli *cli, const struct sc_cli_args *args)
{
    struct sc_buf request = {0};
    struct sc_cli_reply reply;
    struct sc_slice value = {NULL, 0};
    struct wish wish = {.op = SC_OP_NONE};
    int code = read_wish(cli, args, &wish);
    if (code != SC_CLI_DONE) {
        return code;
    }
    put_request(&wish, &request);
    code = sc_cli_ask(cli, wish.subject, sc_buf_slice(&request), &reply);
    sc_buf_fini(&request);
    if (code != SC_CLI_DONE) {
        return code;
    }
    bool good = true;
    if (sc_mp_peek(&reply.result) == SC_MP_NONE) {
        fputs("\"ok\"\n", cli->out);
    } else if (!sc_mp_skip(&reply.result, &value)) {
        good = false;
    } else {
        good = wish.dry_run ? sc_cli_moves_print_plan(cli, value) : sc_cli_output_json(cli, value);
    }
    sc_cli_reply_fini(&reply);
    return good ? SC_CLI_DONE : sc_cli_garbled(cli, wish.subject);
}
