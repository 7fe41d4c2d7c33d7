/* The commands that see to the shards' disks: compact, scrub and config. */
#include <string.h>
#include <time.h>

#include "client/json.h"
#include "common/msg.h"
#include "tools/cli_commands.h"
#include "tools/cli_figures.h"
#include "tools/cli_output.h"
#include "tools/progress.h"

#define POLL_NS 200000000L

static int ask(struct sc_cli *cli, enum sc_op op, struct sc_cli_reply *reply)
{
    struct sc_buf request = {0};
    sc_msg_put_op(&request, op, 0);
    int code = sc_cli_ask(cli, sc_op_name(op), sc_buf_slice(&request), reply);
    sc_buf_fini(&request);
    return code;
}

/* ---- compact ---- */

/* What the shards tell of their merges, added up. */
struct merges {
    uint64_t busy; /* shards that are not done */
    uint64_t bytes, bytes_done; /* of those that merge now */
    uint64_t reclaimed;
};

static uint64_t number_in(struct sc_slice map, const char *name)
{
    struct sc_slice value;
    uint64_t number = 0;
    if (sc_cli_figures_find(map, name, &value)) {
        struct sc_mp mp = sc_mp(value);
        (void)sc_mp_uint(&mp, &number);
    }
    return number;
}

static void add_shard(void *arg, struct sc_slice shard)
{
    struct merges *merges = arg;
    struct sc_slice state = {NULL, 0};
    struct sc_slice text = {NULL, 0};
    if (sc_cli_figures_find(shard, "merge_state", &state)) {
        struct sc_mp mp = sc_mp(state);
        (void)sc_mp_str(&mp, &text);
    }
    bool idle = text.size == 0 || sc_slice_equal(text, sc_slice_str("idle"));
    merges->busy += idle && number_in(shard, "merge_asked") == 0 ? 0 : 1;
    merges->bytes += number_in(shard, "merge_bytes");
    merges->bytes_done += number_in(shard, "merge_bytes_done");
    merges->reclaimed += number_in(shard, "merge_reclaimed_bytes");
}

/* Calls `add` with the map of each shard in the reply to stats. */
static int for_each_shard(struct sc_cli *cli, void (*add)(void *arg, struct sc_slice shard),
                          void *arg)
{
    struct sc_cli_reply reply;
    struct sc_slice map = {NULL, 0};
    struct sc_slice shards = {NULL, 0};
    uint32_t count = 0;
    int code = ask(cli, SC_OP_STATS, &reply);
    if (code != SC_CLI_DONE) {
        return code;
    }
    bool good = sc_mp_skip(&reply.result, &map) && sc_cli_figures_find(map, "shards", &shards);
    struct sc_mp mp = sc_mp(shards);
    good = good && sc_mp_array(&mp, &count);
    for (uint32_t i = 0; good && i < count; i++) {
        struct sc_slice shard;
        good = sc_mp_skip(&mp, &shard);
        if (good) {
            add(arg, shard);
        }
    }
    if (!good) {
        code = sc_cli_garbled(cli, "stats");
    }
    sc_cli_reply_fini(&reply);
    return code;
}

static int read_merges(struct sc_cli *cli, struct merges *merges)
{
    *merges = (struct merges){0};
    return for_each_shard(cli, add_shard, merges);
}

/* Waits until every shard has merged what it was asked to, with a bar on a terminal. */
static int wait_for_merges(struct sc_cli *cli)
{
    const struct timespec pause = {.tv_nsec = POLL_NS};
    struct sc_progress progress;
    struct merges merges;
    struct merges before;
    int code = read_merges(cli, &before);
    sc_cli_catch_interrupts();
    sc_progress_init(&progress, cli->err, cli->err_terminal, "compact", "bytes reclaimed");
    while (code == SC_CLI_DONE) {
        code = read_merges(cli, &merges);
        if (code != SC_CLI_DONE || merges.busy == 0) {
            break;
        }
        sc_progress_update(&progress, merges.bytes_done, merges.bytes,
                           merges.reclaimed - before.reclaimed);
        if (sc_cli_interrupted()) {
            sc_progress_clear(&progress);
            return sc_cli_complain(cli, SC_CLI_ERROR,
                                   "compact: no longer waiting; the merges go on");
        }
        (void)nanosleep(&pause, NULL);
    }
    sc_progress_clear(&progress);
    if (code == SC_CLI_DONE) {
        fprintf(cli->out, "{\"reclaimed_bytes\":%llu}\n",
                (unsigned long long)(merges.reclaimed - before.reclaimed));
    }
    return code;
}

int sc_cli_upkeep_compact(struct sc_cli *cli, const struct sc_cli_args *args)
{
    struct sc_cli_reply reply;
    int code = ask(cli, SC_OP_COMPACT, &reply);
    if (code != SC_CLI_DONE) {
        return code;
    }
    sc_cli_reply_fini(&reply);
    if (sc_cli_args_flag(args, "wait") || cli->err_terminal) {
        return wait_for_merges(cli);
    }
    fputs("\"ok\"\n", cli->out);
    return SC_CLI_DONE;
}

/* ---- scrub ---- */

/* What the shards tell of their scrubs, added up. */
struct scrubs {
    uint64_t busy; /* shards that are not done */
    uint64_t bytes, bytes_done;
    uint64_t damage;
};

static void add_scrub(void *arg, struct sc_slice shard)
{
    struct scrubs *scrubs = arg;
    scrubs->busy += number_in(shard, "scrub_asked");
    scrubs->bytes += number_in(shard, "scrub_bytes");
    scrubs->bytes_done += number_in(shard, "scrub_bytes_done");
    scrubs->damage += number_in(shard, "damage");
}

/* Waits until every shard has been read, with a bar on a terminal. */
static int wait_for_scrubs(struct sc_cli *cli)
{
    const struct timespec pause = {.tv_nsec = POLL_NS};
    struct sc_progress progress;
    struct scrubs scrubs;
    int code = SC_CLI_DONE;
    sc_cli_catch_interrupts();
    sc_progress_init(&progress, cli->err, cli->err_terminal, "scrub", "bytes read");
    for (;;) {
        scrubs = (struct scrubs){0};
        code = for_each_shard(cli, add_scrub, &scrubs);
        if (code != SC_CLI_DONE || scrubs.busy == 0) {
            break;
        }
        sc_progress_update(&progress, scrubs.bytes_done, scrubs.bytes, scrubs.bytes_done);
        if (sc_cli_interrupted()) {
            sc_progress_clear(&progress);
            return sc_cli_complain(cli, SC_CLI_ERROR, "scrub: no longer waiting; it goes on");
        }
        (void)nanosleep(&pause, NULL);
    }
    sc_progress_clear(&progress);
    if (code != SC_CLI_DONE) {
        return code;
    }
    fprintf(cli->out, "{\"bytes\":%llu,\"damage\":%llu}\n", (unsigned long long)scrubs.bytes_done,
            (unsigned long long)scrubs.damage);
    return scrubs.damage == 0 ? SC_CLI_DONE
                              : sc_cli_complain(cli, SC_CLI_ERROR,
                                                "scrub: there is damage; `shardcask damage` lists "
                                                "it, docs/OPERATING.md says what to do");
}

int sc_cli_upkeep_scrub(struct sc_cli *cli, const struct sc_cli_args *args)
{
    struct sc_cli_reply reply;
    int code = ask(cli, SC_OP_SCRUB, &reply);
    if (code != SC_CLI_DONE) {
        return code;
    }
    sc_cli_reply_fini(&reply);
    if (sc_cli_args_flag(args, "wait") || cli->err_terminal) {
        return wait_for_scrubs(cli);
    }
    fputs("\"ok\"\n", cli->out);
    return SC_CLI_DONE;
}

/* ---- config ---- */

static int put_change(struct sc_cli *cli, const struct sc_cli_args *args, struct sc_buf *request)
{
    char why[SC_WHY_SIZE];
    struct sc_config change;
    struct sc_buf map = {0};
    const char *text = args->words[1];
    sc_mp_put_map(&map, 1);
    sc_mp_put_cstr(&map, args->words[0]);
    enum sc_status status = sc_json_read(sc_slice_str(text), &map, why);
    struct sc_mp mp = sc_mp(sc_buf_slice(&map));
    if (status == SC_OK) {
        status = sc_config_parse(&mp, &change, why);
    }
    if (status == SC_OK) {
        sc_buf_append_slice(request, sc_buf_slice(&map));
    }
    sc_buf_fini(&map);
    return status == SC_OK ? SC_CLI_DONE : sc_cli_complain(cli, SC_CLI_USAGE, "%s", why);
}

int sc_cli_upkeep_config(struct sc_cli *cli, const struct sc_cli_args *args)
{
    struct sc_buf request = {0};
    struct sc_cli_reply reply;
    struct sc_slice map = {NULL, 0};
    int code = SC_CLI_DONE;
    if (args->count == 1) {
        return sc_cli_complain(cli, SC_CLI_USAGE,
                               "config: give the name of a setting and its value");
    }
    sc_msg_put_op(&request, SC_OP_CONFIG, args->count > 0 ? 1 : 0);
    if (args->count > 0) {
        code = put_change(cli, args, &request);
    }
    if (code == SC_CLI_DONE) {
        code = sc_cli_ask(cli, "config", sc_buf_slice(&request), &reply);
    }
    sc_buf_fini(&request);
    if (code != SC_CLI_DONE) {
        return code;
    }
    bool good =
        sc_mp_skip(&reply.result, &map) &&
        (sc_cli_output_pretty(cli) ? sc_cli_figures_print(cli, map) : sc_cli_output_json(cli, map));
    if (!good) {
        code = sc_cli_garbled(cli, "config");
    }
    sc_cli_reply_fini(&reply);
    return code;
}
