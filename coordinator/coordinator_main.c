/*
 * shardcask-coordinator: the process that clients talk to. Reads its flags, opens the cluster map,
 * routes requests to the shards until it is told to stop.
 */
#include "common/daemon.h"
#include "common/failpoint.h"
#include "common/flags.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/sp_descriptor.h"
#include "common/version.h"
#include "coordinator/cluster.h"
#include "coordinator/coordinator.h"

#include <stdio.h>
#include <stdlib.h>

/* Visible, so that it takes the place of the C library's. */
__attribute__((visibility("default"))) const char *argp_program_version =
    "shardcask-coordinator " SC_VERSION;

struct flags {
    struct sc_flags common;
    const char *shards[SC_CLUSTER_SHARDS_MAX];
    size_t shard_count;
    uint64_t timeout_ms;
    uint64_t connections_max;
    uint64_t idle_ms;
    uint64_t merges;
};

enum { FLAG_TIMEOUT = SC_FLAGS_KEY_FIRST, FLAG_MAX_CONNECTIONS, FLAG_IDLE, FLAG_MERGES };

static const struct argp_option option_list[] = {
    {"shard", 's', "URL", 0, "Address of a shard, for the first start; repeat it for each", 0},
    {"timeout", FLAG_TIMEOUT, "MS", 0, "Time for a shard to answer a message (default 10000)", 0},
    {"max-connections", FLAG_MAX_CONNECTIONS, "N", 0, "Clients at a time (default 4096)", 0},
    {"idle", FLAG_IDLE, "MS", 0, "Disconnect clients silent for so long (default: never)", 0},
    {"merges", FLAG_MERGES, "N", 0, "Shards that may merge at the same time (default 1)", 0},
    {0},
};

static void add_shard(struct flags *flags, const struct argp_state *state, const char *url)
{
    if (flags->shard_count == SC_CLUSTER_SHARDS_MAX) {
        argp_error(state, "more than %u shards", SC_CLUSTER_SHARDS_MAX);
    }
    flags->shards[flags->shard_count++] = url;
}

static error_t parse_flag(int key, char *text, struct argp_state *state)
{
    struct flags *flags = state->input;
    bool good = true;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &flags->common;
        break;
    case 's':
        add_shard(flags, state, text);
        break;
    case FLAG_TIMEOUT:
        good = sc_daemon_number(text, false, 1, 3600000, &flags->timeout_ms);
        break;
    case FLAG_MAX_CONNECTIONS:
        good = sc_daemon_number(text, false, 1, 1000000, &flags->connections_max);
        break;
    case FLAG_IDLE:
        good = sc_daemon_number(text, false, 0, UINT32_MAX, &flags->idle_ms);
        break;
    case FLAG_MERGES:
        good = sc_daemon_number(text, false, 1, SC_CLUSTER_SHARDS_MAX, &flags->merges);
        break;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument '%s'", text);
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    if (!good) {
        sc_flags_bad_value(state, option_list, key, text);
    }
    return 0;
}

static enum sc_status serve(const struct flags *flags, struct sc_coordinator *coordinator,
                            char *why)
{
    enum sc_status status = SC_OK;
    const char *bound = "";
    for (size_t i = 0; status == SC_OK && i < flags->common.url_count; i++) {
        status = sc_coordinator_listen(coordinator, flags->common.urls[i], &bound, why);
        if (status == SC_OK) {
            sc_log_info("ready to serve on %s, directory %s", bound, flags->common.dir);
        }
    }
    if (status == SC_OK) {
        sc_coordinator_log_shards(coordinator);
        sc_log_info("%s: stopping", sc_daemon_wait());
    }
    return status;
}

static enum sc_status run(const struct flags *flags, char *why)
{
    struct sc_coordinator_options options = {
        .descriptor = sc_sp_descriptor,
        .dir = flags->common.dir,
        .shard_urls = flags->shards,
        .shard_count = flags->shard_count,
        .message_max = (size_t)flags->common.message_max,
        .value_max = (uint32_t)flags->common.value_max,
        .timeout_ms = (uint32_t)flags->timeout_ms,
        .connections_max = (uint32_t)flags->connections_max,
        .idle_ms = (uint32_t)flags->idle_ms,
        .merges_at_once = (uint32_t)flags->merges,
    };
    struct sc_coordinator *coordinator = NULL;
    sc_failpoint_init();
    enum sc_status status = sc_coordinator_open(&options, &coordinator, why);
    if (status == SC_OK) {
        status = serve(flags, coordinator, why);
    }
    sc_coordinator_close(coordinator);
    return status;
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = {{&sc_flags_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        .options = option_list,
        .parser = parse_flag,
        .doc = "Coordinates a fleet of shards: takes requests from clients, by default on "
               "tcp://127.0.0.1:7700, and sends each to the shard that owns its key.",
        .children = children,
    };
    struct flags flags = {.common = SC_FLAGS_DEFAULT,
                          .timeout_ms = SC_REQUEST_TIMEOUT_MS_DEFAULT,
                          .connections_max = SC_CONNECTIONS_DEFAULT,
                          .merges = 1};
    char why[SC_WHY_SIZE] = "";
    argp_err_exit_status = SC_FLAGS_EXIT_USAGE;
    (void)argp_parse(&argp, argc, argv, 0, NULL, &flags);
    if (flags.common.url_count == 0) {
        flags.common.urls[flags.common.url_count++] = SC_URL_DEFAULT;
    }
    enum sc_status status = sc_flags_apply(&flags.common, "coordinator", why);
    if (status == SC_OK) {
        status = sc_flags_check_urls(flags.shards, flags.shard_count, why);
    }
    if (status == SC_OK) {
        status = run(&flags, why);
    }
    return sc_flags_exit("shardcask-coordinator", status, why);
}
