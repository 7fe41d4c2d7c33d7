/* backup: asks the coordinator for one, follows it, and checks one that is there. */
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/msg.h"
#include "tools/backup_list.h"
#include "tools/cli_backup.h"
#include "tools/cli_commands.h"
#include "tools/cli_figures.h"
#include "tools/cli_output.h"
#include "tools/progress.h"

#define POLL_NS 200000000L

/* ---- What the coordinator tells ---- */

/* How far a backup is. Texts are slices of the reply. */
struct state {
    struct sc_slice name; /* "running" ... */
    struct sc_slice dir, why;
    uint64_t ms, bytes, bytes_done;
    uint64_t keys, files, linked, damaged;
};

static void get_text(struct sc_slice map, const char *name, struct sc_slice *text)
{
    struct sc_slice raw;
    if (sc_cli_figures_find(map, name, &raw)) {
        struct sc_mp mp = sc_mp(raw);
        (void)sc_mp_str(&mp, text);
    }
}

static void get_number(struct sc_slice map, const char *name, uint64_t *number)
{
    struct sc_slice raw;
    if (sc_cli_figures_find(map, name, &raw)) {
        struct sc_mp mp = sc_mp(raw);
        (void)sc_mp_uint(&mp, number);
    }
}

static void read_state(struct sc_slice map, struct state *state)
{
    *state = (struct state){0};
    get_text(map, "state", &state->name);
    get_text(map, "dir", &state->dir);
    get_text(map, "why", &state->why);
    get_number(map, "ms", &state->ms);
    get_number(map, "bytes", &state->bytes);
    get_number(map, "bytes_done", &state->bytes_done);
    get_number(map, "keys", &state->keys);
    get_number(map, "files", &state->files);
    get_number(map, "linked_bytes", &state->linked);
    get_number(map, "damaged_records", &state->damaged);
}

static bool is(const struct state *state, const char *name)
{
    return sc_slice_equal(state->name, sc_slice_str(name));
}

/* Asks ["backup", options] or, without options, ["backup"]; gives the map in the reply. */
static int ask(struct sc_cli *cli, const struct sc_buf *options, struct sc_cli_reply *reply,
               struct sc_slice *map)
{
    struct sc_buf request = {0};
    sc_msg_put_op(&request, SC_OP_BACKUP, options != NULL ? 1 : 0);
    if (options != NULL) {
        sc_buf_append_slice(&request, sc_buf_slice(options));
    }
    int code = sc_cli_ask(cli, "backup", sc_buf_slice(&request), reply);
    sc_buf_fini(&request);
    if (code == SC_CLI_DONE && !sc_mp_skip(&reply->result, map)) {
        code = sc_cli_garbled(cli, "backup");
        sc_cli_reply_fini(reply);
    }
    return code;
}

static int ask_cancel(struct sc_cli *cli)
{
    struct sc_buf options = {0};
    struct sc_cli_reply reply;
    struct sc_slice map;
    sc_mp_put_map(&options, 1);
    sc_mp_put_cstr(&options, "cancel");
    sc_mp_put_bool(&options, true);
    int code = ask(cli, &options, &reply, &map);
    sc_buf_fini(&options);
    if (code == SC_CLI_DONE) {
        sc_cli_reply_fini(&reply);
    }
    return code;
}

/* ---- Making one ---- */

/* Prints what a complete backup has. */
static void print_done(struct sc_cli *cli, const struct state *state)
{
    struct sc_buf packed = {0};
    sc_mp_put_map(&packed, 6);
    sc_mp_put_cstr(&packed, "backup");
    sc_mp_put_str(&packed, state->dir);
    sc_mp_put_cstr(&packed, "keys");
    sc_mp_put_uint(&packed, state->keys);
    sc_mp_put_cstr(&packed, "files");
    sc_mp_put_uint(&packed, state->files);
    sc_mp_put_cstr(&packed, "bytes");
    sc_mp_put_uint(&packed, state->bytes);
    sc_mp_put_cstr(&packed, "linked_bytes");
    sc_mp_put_uint(&packed, state->linked);
    sc_mp_put_cstr(&packed, "seconds");
    sc_mp_put_float(&packed, (double)state->ms / 1000);
    (void)sc_cli_output_json(cli, sc_buf_slice(&packed)); /* it is well formed */
    sc_buf_fini(&packed);
    if (state->damaged > 0) {
        sc_cli_complain(cli, 0,
                        "backup: it is complete, but has %" PRIu64
                        " records that are known to be damaged: see docs/OPERATING.md",
                        state->damaged);
    }
}

/* Follows a backup until it is over; Ctrl-C gives it up. */
static int follow(struct sc_cli *cli)
{
    const struct timespec pause = {.tv_nsec = POLL_NS};
    struct sc_progress progress;
    bool cancelled = false;
    sc_cli_catch_ends();
    sc_progress_init(&progress, cli->err, cli->err_terminal, "backup", "bytes");
    for (;;) {
        struct sc_cli_reply reply;
        struct sc_slice map;
        struct state state;
        int code = ask(cli, NULL, &reply, &map);
        if (code != SC_CLI_DONE) {
            sc_progress_clear(&progress);
            return code;
        }
        read_state(map, &state);
        bool running = is(&state, "running");
        if (running) {
            sc_progress_update(&progress, state.bytes_done, state.bytes, state.bytes_done);
        } else {
            sc_progress_clear(&progress);
        }
        if (is(&state, "done")) {
            print_done(cli, &state);
        } else if (!running) {
            if (state.why.size == 0) {
                state.why = sc_slice_str("the coordinator was restarted: there is no backup");
            }
            int length = (int)(state.why.size < 300 ? state.why.size : 300);
            code = sc_cli_complain(cli, SC_CLI_ERROR, "backup: %.*s", length,
                                   (const char *)state.why.data);
        }
        sc_cli_reply_fini(&reply);
        if (!running) {
            return code;
        }
        if (sc_cli_interrupted() && !cancelled) {
            cancelled = true;
            code = ask_cancel(cli);
            if (code != SC_CLI_DONE) {
                sc_progress_clear(&progress);
                return code;
            }
        }
        (void)nanosleep(&pause, NULL);
    }
}

/* The path as the servers are to have it: from the root. */
static char *absolute(const char *dir)
{
    char here[PATH_MAX];
    if (dir[0] == '/' || getcwd(here, sizeof here) == NULL) {
        return strdup(dir);
    }
    size_t size = strlen(here) + strlen(dir) + 2;
    char *path = sc_alloc(size);
    snprintf(path, size, "%s/%s", here, dir);
    return path;
}

static int make(struct sc_cli *cli, const struct sc_cli_args *args)
{
    const char *rate_text = sc_cli_args_option(args, "rate");
    bool copy = sc_cli_args_flag(args, "copy");
    uint64_t rate = 0;
    struct sc_buf options = {0};
    struct sc_cli_reply reply;
    struct sc_slice map;
    if (rate_text != NULL && !sc_cli_args_uint(rate_text, 0, UINT64_MAX, &rate)) {
        return sc_cli_complain(cli, SC_CLI_USAGE, "backup: --rate %.60s is no number of bytes",
                               rate_text);
    }
    char *dir = absolute(args->words[0]);
    sc_mp_put_map(&options, 2 + (rate_text != NULL));
    sc_mp_put_cstr(&options, "dir");
    sc_mp_put_cstr(&options, dir);
    sc_mp_put_cstr(&options, "copy");
    sc_mp_put_bool(&options, copy);
    if (rate_text != NULL) {
        sc_mp_put_cstr(&options, "bytes_per_second");
        sc_mp_put_uint(&options, rate);
    }
    int code = ask(cli, &options, &reply, &map);
    sc_buf_fini(&options);
    free(dir);
    if (code != SC_CLI_DONE) {
        return code;
    }
    sc_cli_reply_fini(&reply);
    return follow(cli);
}

/* Prints how far the last one is. */
static int show(struct sc_cli *cli)
{
    struct sc_cli_reply reply;
    struct sc_slice map;
    int code = ask(cli, NULL, &reply, &map);
    if (code != SC_CLI_DONE) {
        return code;
    }
    bool good =
        sc_cli_output_pretty(cli) ? sc_cli_figures_print(cli, map) : sc_cli_output_json(cli, map);
    sc_cli_reply_fini(&reply);
    return good ? SC_CLI_DONE : sc_cli_garbled(cli, "backup");
}

/* ---- Checking one ---- */

struct verifying {
    struct sc_cli *cli;
    struct sc_progress progress;
    uint64_t bytes, done;
    uint64_t wrong;
};

static void on_wrong(void *arg, const char *path, const char *why)
{
    struct verifying *verifying = arg;
    sc_progress_clear(&verifying->progress);
    sc_cli_complain(verifying->cli, 0, "backup: %s: %s", path, why);
    verifying->wrong++;
}

static bool on_passed(void *arg, uint64_t bytes)
{
    struct verifying *verifying = arg;
    verifying->done += bytes;
    sc_progress_update(&verifying->progress, verifying->done, verifying->bytes, verifying->done);
    return !sc_cli_interrupted();
}

int sc_cli_backup_check(struct sc_cli *cli, const struct sc_backup_list *list, const char *subject)
{
    struct verifying verifying = {.cli = cli, .bytes = list->bytes};
    const struct sc_backup_list_watcher watcher = {on_wrong, on_passed, &verifying};
    sc_cli_catch_ends();
    sc_progress_init(&verifying.progress, cli->err, cli->err_terminal, "verify", "bytes");
    enum sc_status status = sc_backup_list_verify(list, &watcher);
    sc_progress_clear(&verifying.progress);
    if (status == SC_UNAVAILABLE) {
        return sc_cli_complain(cli, SC_CLI_ERROR, "%s: interrupted", subject);
    }
    return status == SC_OK ? SC_CLI_DONE
                           : sc_cli_complain(cli, SC_CLI_ERROR,
                                             "%s: %" PRIu64 " files of the backup are damaged",
                                             subject, verifying.wrong);
}

static int verify(struct sc_cli *cli, const char *dir)
{
    struct sc_backup_list *list = sc_calloc(1, sizeof *list);
    char why[SC_WHY_SIZE] = "";
    enum sc_status status = sc_backup_list_read(dir, list, why);
    int code = status == SC_OK ? sc_cli_backup_check(cli, list, "backup")
                               : sc_cli_complain(cli, SC_CLI_ERROR, "backup: %s", why);
    if (code == SC_CLI_DONE) {
        size_t files = 0;
        for (size_t i = 0; i < list->shard_count; i++) {
            files += list->shards[i].file_count;
        }
        fprintf(cli->out,
                "{\"verified\":true,\"time\":\"%s\",\"shards\":%zu,\"files\":%zu,\"bytes\":%" PRIu64
                ",\"keys\":%" PRIu64 "}\n",
                list->time, list->shard_count, files, list->bytes, list->keys);
    }
    sc_backup_list_fini(list);
    free(list);
    return code;
}

int sc_cli_backup(struct sc_cli *cli, const struct sc_cli_args *args)
{
    bool to_verify = sc_cli_args_flag(args, "verify");
    bool cancel = sc_cli_args_flag(args, "cancel");
    bool making = sc_cli_args_flag(args, "copy") || sc_cli_args_option(args, "rate") != NULL;
    if ((to_verify && args->count == 0) || (making && (to_verify || args->count == 0)) ||
        (cancel && (args->count > 0 || to_verify || making))) {
        return sc_cli_complain(cli, SC_CLI_USAGE,
                               "usage: backup DIR [--copy] [--rate BYTES], backup --verify DIR, "
                               "backup --cancel, or backup alone");
    }
    if (to_verify) {
        return verify(cli, args->words[0]);
    }
    if (cancel) {
        int code = ask_cancel(cli);
        if (code == SC_CLI_DONE) {
            fputs("\"ok\"\n", cli->out);
        }
        return code;
    }
    return args->count > 0 ? make(cli, args) : show(cli);
}
