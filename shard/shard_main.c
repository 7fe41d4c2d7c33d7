/*
 * shardcask-shard: one shard process. Reads its flags, opens the store, serves it until it is told
 * to stop.
 */
#include "common/daemon.h"
#include "common/flags.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/sp_descriptor.h"
#include "common/version.h"
#include "shard/offline.h"
#include "shard/service.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Visible, so that it takes the place of the C library's. */
__attribute__((visibility("default"))) const char *argp_program_version =
    "shardcask-shard " SC_VERSION;

enum mode { MODE_SERVE, MODE_CHECK, MODE_REPAIR };

struct flags {
    struct sc_flags common;
    enum mode mode;
    bool accept_loss;
    int32_t sync_ms;
    uint64_t file_size_max;
    uint64_t memory_max;
    struct sc_upkeep_options upkeep;
    uint64_t scrub_bytes_per_second;
};

enum {
    FLAG_SYNC = SC_FLAGS_KEY_FIRST,
    FLAG_CHECK,
    FLAG_REPAIR,
    FLAG_ACCEPT_LOSS,
    FLAG_FILE_SIZE,
    FLAG_MAX_MEMORY,
    FLAG_MERGE_DEAD,
    FLAG_MERGE_MIN,
    FLAG_MERGE_RATE,
    FLAG_SCRUB_RATE
};

static const struct argp_option option_list[] = {
    {"sync", FLAG_SYNC, "always|never|MS", 0,
     "When a write is on disk: before it is acknowledged (the default), whenever the system likes, "
     "or at most MS milliseconds later",
     0},
    {"file-size", FLAG_FILE_SIZE, "SIZE", 0, "Start a new data file at this size (default 256M)",
     0},
    {"max-memory", FLAG_MAX_MEMORY, "SIZE", 0,
     "Refuse new keys when the index of keys has so much memory (default 0: no limit)", 0},
    {"merge-dead", FLAG_MERGE_DEAD, "PERCENT", 0,
     "Merge a data file when so much of it is dead (default 40)", 0},
    {"merge-min", FLAG_MERGE_MIN, "SIZE", 0,
     "Merge when at least so much can be reclaimed (default 4M)", 0},
    {"merge-rate", FLAG_MERGE_RATE, "SIZE", 0,
     "Bytes a second that a merge reads and writes (default 32M; 0: no limit); more when more is "
     "dead than alive",
     0},
    {"scrub-rate", FLAG_SCRUB_RATE, "SIZE", 0,
     "Bytes a second that are read again and again, to find damage (default 8M; 0: only when "
     "asked)",
     0},
    {"check", FLAG_CHECK, "DIR", 0,
     "Do not serve: read all that is in the directory, print what is damaged, as a table on a "
     "terminal, else as lines of JSON, and exit: 0 nothing is, 3 something is, 1 it cannot be read",
     1},
    {"repair", FLAG_REPAIR, "DIR", 0,
     "Do not serve: make the directory whole again as far as that can be decided, and keep what is "
     "replaced in its quarantine; exit: 0 it is whole, 3 something was left, 1 it cannot be done",
     1},
    {"accept-loss", FLAG_ACCEPT_LOSS, NULL, 0,
     "With --repair: let go of what nobody can know any more", 1},
    {0},
};

static bool parse_sync(const char *text, int32_t *sync_ms)
{
    uint64_t number = 0;
    if (strcmp(text, "always") == 0) {
        *sync_ms = SC_BITCASK_SYNC_ALWAYS;
    } else if (strcmp(text, "never") == 0) {
        *sync_ms = SC_BITCASK_SYNC_NEVER;
    } else if (sc_daemon_number(text, false, 1, 3600000, &number)) {
        *sync_ms = (int32_t)number;
    } else {
        return false;
    }
    return true;
}

static bool parse_merge_flag(int key, const char *text, struct sc_upkeep_options *options)
{
    uint64_t percent = 0;
    switch (key) {
    case FLAG_MERGE_DEAD:
        if (!sc_daemon_number(text, false, 1, 100, &percent)) {
            return false;
        }
        options->merge.dead_percent = (uint32_t)percent;
        return true;
    case FLAG_MERGE_MIN:
        return sc_daemon_number(text, true, 0, UINT64_C(1) << 40, &options->merge.dead_bytes_min);
    default:
        return sc_daemon_number(text, true, 0, UINT64_C(1) << 40, &options->merge_bytes_per_second);
    }
}

static error_t parse_flag(int key, char *text, struct argp_state *state)
{
    struct flags *flags = state->input;
    bool good = true;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &flags->common;
        break;
    case FLAG_SYNC:
        good = parse_sync(text, &flags->sync_ms);
        break;
    case FLAG_FILE_SIZE:
        good = sc_daemon_number(text, true, 4096, UINT64_C(2) << 30, &flags->file_size_max);
        break;
    case FLAG_MAX_MEMORY:
        good = sc_daemon_number(text, true, 0, UINT64_C(1) << 50, &flags->memory_max);
        break;
    case FLAG_MERGE_DEAD:
    case FLAG_MERGE_MIN:
    case FLAG_MERGE_RATE:
        good = parse_merge_flag(key, text, &flags->upkeep);
        break;
    case FLAG_SCRUB_RATE:
        good = sc_daemon_number(text, true, 0, UINT64_C(1) << 40, &flags->scrub_bytes_per_second);
        break;
    case FLAG_CHECK:
        flags->mode = MODE_CHECK;
        flags->common.dir = text;
        break;
    case FLAG_REPAIR:
        flags->mode = MODE_REPAIR;
        flags->common.dir = text;
        break;
    case FLAG_ACCEPT_LOSS:
        flags->accept_loss = true;
        break;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument '%s'", text);
        break;
    case ARGP_KEY_END:
        if (flags->common.url_count == 0 && flags->mode == MODE_SERVE) {
            argp_error(state, "--listen is needed");
        } else if (flags->common.url_count > 0 && flags->mode != MODE_SERVE) {
            argp_error(state, "--check and --repair do not serve: leave out --listen");
        } else if (flags->accept_loss && flags->mode != MODE_REPAIR) {
            argp_error(state, "--accept-loss goes with --repair");
        }
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    if (!good) {
        sc_flags_bad_value(state, option_list, key, text);
    }
    return 0;
}

/* Opening a large store takes a while: says so every few seconds. */
static void on_progress(void *arg, uint64_t done, uint64_t total)
{
    const char *dir = arg;
    sc_log_info("opening %s: %" PRIu64 " of %" PRIu64 " MiB read", dir, done >> 20, total >> 20);
}

static enum sc_status serve(const struct flags *flags, struct sc_bitcask *store, char *why)
{
    struct sc_service_options options = {.message_max =
                                             (size_t)flags->common.message_max + (1u << 16),
                                         .value_max = (uint32_t)flags->common.value_max,
                                         .descriptor = sc_sp_descriptor,
                                         .sync_ms = flags->sync_ms,
                                         .upkeep = flags->upkeep,
                                         .scrub_bytes_per_second = flags->scrub_bytes_per_second};
    struct sc_service *service = NULL;
    enum sc_status status = sc_service_open(store, &options, &service, why);
    const char *bound = "";
    for (size_t i = 0; status == SC_OK && i < flags->common.url_count; i++) {
        status = sc_service_listen(service, flags->common.urls[i], &bound, why);
        if (status == SC_OK) {
            sc_log_info("ready to serve on %s, directory %s", bound, flags->common.dir);
        }
    }
    if (status == SC_OK) {
        sc_log_info("%s: stopping", sc_daemon_wait());
    }
    sc_service_close(service);
    return status;
}

/* A shard that knows its id says it in every line. */
static void name_log(const struct sc_bitcask *store, int level)
{
    struct sc_bitcask_identity identity;
    char name[32];
    sc_bitcask_identity(store, &identity);
    if (identity.adopted) {
        (void)snprintf(name, sizeof name, "shard-%" PRIu32, identity.shard_id);
        sc_log_init(name, (enum sc_log_level)level);
    }
}

static enum sc_status run(const struct flags *flags, char *why)
{
    struct sc_bitcask_options options = {.file_size_max = flags->file_size_max,
                                         .value_max = (uint32_t)flags->common.value_max,
                                         .sync_ms = flags->sync_ms,
                                         .zeros_ahead = SC_BITCASK_ZEROS_AHEAD,
                                         .max_memory = flags->memory_max,
                                         .on_progress = on_progress,
                                         .progress_arg = (void *)(uintptr_t)flags->common.dir};
    struct sc_bitcask *store = NULL;
    enum sc_status status = sc_bitcask_open(flags->common.dir, &options, NULL, NULL, &store, why);
    if (status != SC_OK) {
        return status;
    }
    name_log(store, flags->common.log_level);
    status = serve(flags, store, why);
    enum sc_status closed = sc_bitcask_close(store);
    if (status == SC_OK && closed != SC_OK) {
        return sc_fail(why, closed, "closing %s failed: see the log above", flags->common.dir);
    }
    return status;
}

static int work_offline(const struct flags *flags)
{
    const struct sc_offline_output output = {
        .out = stdout,
        .err = stderr,
        .out_terminal = isatty(STDOUT_FILENO) != 0,
        .err_terminal = isatty(STDERR_FILENO) != 0,
    };
    if (flags->mode == MODE_CHECK) {
        return sc_offline_check(flags->common.dir, &output);
    }
    return sc_offline_repair(flags->common.dir, flags->accept_loss, &output);
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = {{&sc_flags_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        .options = option_list,
        .parser = parse_flag,
        .doc = "Serves one shard: a directory of data files. It waits for a coordinator "
               "(shardcask-coordinator --shard URL) to tell it which slots are its own.",
        .children = children,
    };
    struct flags flags = {.common = SC_FLAGS_DEFAULT,
                          .sync_ms = SC_BITCASK_SYNC_ALWAYS,
                          .file_size_max = SC_BITCASK_FILE_SIZE_DEFAULT,
                          .upkeep = SC_UPKEEP_OPTIONS_DEFAULT,
                          .scrub_bytes_per_second = SC_SCRUBBER_RATE_DEFAULT};
    char why[SC_WHY_SIZE] = "";
    argp_err_exit_status = SC_FLAGS_EXIT_USAGE;
    (void)argp_parse(&argp, argc, argv, 0, NULL, &flags);
    if (flags.mode != MODE_SERVE) {
        return work_offline(&flags);
    }
    enum sc_status status = sc_flags_apply(&flags.common, "shard", why);
    if (status == SC_OK) {
        status = run(&flags, why);
    }
    return sc_flags_exit("shardcask-shard", status, why);
}
