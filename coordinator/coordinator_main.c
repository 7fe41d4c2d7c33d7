/*
 * shardcask-coordinator: the process that clients talk to. Reads its flags, opens the cluster map,
 * routes requests to the shards until it is told to stop.
 */
#include "common/daemon.h"
#include "common/log.h"
#include "common/sp.h"
#include "common/version.h"
#include "coordinator/cluster.h"
#include "coordinator/coordinator.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>

#define EXIT_USAGE 2
#define URLS_MAX 16

/* Visible, so that it takes the place of the C library's. */
__attribute__((visibility("default"))) const char *argp_program_version =
    "shardcask-coordinator " SC_VERSION;

struct flags {
    const char *dir;
    const char *urls[URLS_MAX];
    size_t url_count;
    const char *shards[SC_CLUSTER_SHARDS_MAX];
    size_t shard_count;
    uint64_t value_max;
    uint64_t message_max;
    uint64_t timeout_ms;
    uint64_t connections_max;
    uint64_t idle_ms;
    uint64_t merges;
    uint64_t cpu;
    bool has_cpu;
    int log_level;
};

enum {
    FLAG_MAX_VALUE = 256,
    FLAG_MAX_MESSAGE,
    FLAG_TIMEOUT,
    FLAG_MAX_CONNECTIONS,
    FLAG_IDLE,
    FLAG_MERGES,
    FLAG_CPU,
    FLAG_LOG
};

static const struct argp_option option_list[] = {
    {"dir", 'd', "DIR", 0, "Directory of the cluster map (made if absent)", 0},
    {"listen", 'l', "URL", 0,
     "Address to serve on: tcp://host:port or ipc:///path; may be repeated (default "
     "tcp://127.0.0.1:7700)",
     0},
    {"shard", 's', "URL", 0, "Address of a shard, for the first start; repeat it for each", 0},
    {"max-value", FLAG_MAX_VALUE, "SIZE", 0, "Largest encoded value (default 16M)", 0},
    {"max-message", FLAG_MAX_MESSAGE, "SIZE", 0, "Largest message (default 64M)", 0},
    {"timeout", FLAG_TIMEOUT, "MS", 0, "Time for a shard to answer a message (default 10000)", 0},
    {"max-connections", FLAG_MAX_CONNECTIONS, "N", 0, "Clients at a time (default 4096)", 0},
    {"idle", FLAG_IDLE, "MS", 0, "Disconnect clients silent for so long (default: never)", 0},
    {"merges", FLAG_MERGES, "N", 0, "Shards that may merge at the same time (default 1)", 0},
    {"cpu", FLAG_CPU, "N", 0, "Bind the process to CPU N", 0},
    {"log", FLAG_LOG, "LEVEL", 0, "error, warn, info (the default) or debug", 0},
    {0},
};

static void add_url(struct argp_state *state, const char **list, size_t *count, size_t most,
                    const char *url)
{
    if (*count == most) {
        argp_error(state, "more than %zu addresses", most);
    }
    list[(*count)++] = url;
}

static error_t parse_flag(int key, char *text, struct argp_state *state)
{
    struct flags *flags = state->input;
    bool good = true;
    switch (key) {
    case 'd':
        flags->dir = text;
        break;
    case 'l':
        add_url(state, flags->urls, &flags->url_count, URLS_MAX, text);
        break;
    case 's':
        add_url(state, flags->shards, &flags->shard_count, SC_CLUSTER_SHARDS_MAX, text);
        break;
    case FLAG_MAX_VALUE:
        good = sc_daemon_number(text, true, 1024, 60u << 20, &flags->value_max);
        break;
    case FLAG_MAX_MESSAGE:
        good = sc_daemon_number(text, true, 1u << 20, 1u << 30, &flags->message_max);
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
    case FLAG_CPU:
        good = sc_daemon_number(text, false, 0, 1023, &flags->cpu);
        flags->has_cpu = true;
        break;
    case FLAG_LOG:
        flags->log_level = sc_log_level_parse(text);
        good = flags->log_level >= 0;
        break;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument '%s'", text);
        break;
    case ARGP_KEY_END:
        if (flags->dir == NULL) {
            argp_error(state, "--dir is needed");
        }
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    if (!good) {
        argp_error(state, "'%s' is not a value for this flag", text);
    }
    return 0;
}

static enum sc_status check_urls(const char *const *urls, size_t count, bool to_listen, char *why)
{
    enum sc_status status = SC_OK;
    for (size_t i = 0; i < count && status == SC_OK; i++) {
        status = sc_sp_url_check(urls[i], to_listen, why);
    }
    return status;
}

static enum sc_status serve(const struct flags *flags, struct sc_coordinator *coordinator,
                            char *why)
{
    enum sc_status status = SC_OK;
    const char *bound = "";
    for (size_t i = 0; status == SC_OK && i < flags->url_count; i++) {
        status = sc_coordinator_listen(coordinator, flags->urls[i], &bound, why);
        if (status == SC_OK) {
            sc_log_info("ready to serve on %s, directory %s", bound, flags->dir);
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
    enum sc_status status = SC_OK;
    if (flags->has_cpu) {
        status = sc_daemon_bind_cpu((unsigned)flags->cpu, why);
    }
    struct sc_coordinator_options options = {
        .dir = flags->dir,
        .shard_urls = flags->shards,
        .shard_count = flags->shard_count,
        .message_max = (size_t)flags->message_max,
        .value_max = (uint32_t)flags->value_max,
        .timeout_ms = (uint32_t)flags->timeout_ms,
        .connections_max = (uint32_t)flags->connections_max,
        .idle_ms = (uint32_t)flags->idle_ms,
        .merges_at_once = (uint32_t)flags->merges,
    };
    struct sc_coordinator *coordinator = NULL;
    if (status == SC_OK) {
        status = sc_coordinator_open(&options, &coordinator, why);
    }
    if (status == SC_OK) {
        status = serve(flags, coordinator, why);
    }
    sc_coordinator_close(coordinator);
    return status;
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        .options = option_list,
        .parser = parse_flag,
        .doc = "Coordinates a fleet of shards: takes requests from clients and sends each to the "
               "shard that owns its key.",
    };
    struct flags flags = {.value_max = SC_VALUE_MAX_DEFAULT,
                          .message_max = SC_MESSAGE_MAX_DEFAULT,
                          .timeout_ms = SC_REQUEST_TIMEOUT_MS_DEFAULT,
                          .connections_max = SC_CONNECTIONS_DEFAULT,
                          .merges = 1,
                          .log_level = SC_LOG_INFO};
    argp_err_exit_status = EXIT_USAGE;
    (void)argp_parse(&argp, argc, argv, 0, NULL, &flags);
    if (flags.url_count == 0) {
        flags.urls[flags.url_count++] = SC_URL_DEFAULT;
    }
    char why[SC_WHY_SIZE] = "";
    sc_log_init("coordinator", (enum sc_log_level)flags.log_level);
    sc_daemon_init();
    enum sc_status status = check_urls(flags.urls, flags.url_count, true, why);
    if (status == SC_OK) {
        status = check_urls(flags.shards, flags.shard_count, false, why);
    }
    if (status == SC_OK) {
        status = run(&flags, why);
    }
    if (status != SC_OK) {
        fprintf(stderr, "shardcask-coordinator: %s\n", why);
        return status == SC_BADREQUEST ? EXIT_USAGE : EXIT_FAILURE;
    }
    sc_log_info("stopped");
    return EXIT_SUCCESS;
}
