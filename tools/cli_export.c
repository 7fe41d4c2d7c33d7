/* export: every record of the store goes into a file. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/json.h"
#include "common/limits.h"
#include "common/msg.h"
#include "tools/cli_commands.h"
#include "tools/cli_output.h"
#include "tools/cli_pages.h"
#include "tools/progress.h"

/* Where the records go: standard output, a device or pipe as it is, or a temporary file that
 * replaces the named one in the end. */
struct target {
    FILE *file;
    const char *path; /* NULL: standard output */
    char *temporary; /* NULL: written in place */
};

/* ---- The file ---- */

static bool open_temporary(struct target *target, char *why)
{
    size_t size = strlen(target->path) + sizeof ".XXXXXX";
    target->temporary = sc_alloc(size);
    snprintf(target->temporary, size, "%s.XXXXXX", target->path);
    int fd = mkostemp(target->temporary, O_CLOEXEC);
    if (fd < 0) {
        sc_fail(why, SC_IO, "cannot write beside %s: %s", target->path, strerror(errno));
        free(target->temporary);
        target->temporary = NULL;
        return false;
    }
    /* mkstemp's files are private; this one gets the mode that any new file has. */
    mode_t mask = umask(0);
    umask(mask);
    (void)fchmod(fd, 0666 & ~mask);
    target->file = fdopen(fd, "w");
    return target->file != NULL;
}

static bool open_target(struct target *target, const char *path, FILE *standard, char *why)
{
    struct stat info;
    if (strcmp(path, "-") == 0) {
        target->file = standard;
        return true;
    }
    target->path = path;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
        target->file = fopen(path, "we");
        if (target->file == NULL) {
            sc_fail(why, SC_IO, "cannot write %s: %s", path, strerror(errno));
        }
        return target->file != NULL;
    }
    return open_temporary(target, why);
}

static void sync_directory_of(const char *path)
{
    char *copy = strdup(path);
    if (copy == NULL) {
        return;
    }
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    free(copy);
}

/* Puts a whole temporary file in the place of the one it is for. */
static bool keep_temporary(const struct target *target)
{
    assert(target->temporary != NULL && target->path != NULL);
    if (rename(target->temporary, target->path) != 0) {
        return false;
    }
    sync_directory_of(target->path);
    return true;
}

/* Ends the file: keeps it when all went well (`good`), else removes what was written. Returns
 * false, with the sentence, when keeping it failed. */
static bool close_target(struct target *target, bool good, char *why)
{
    bool written = fflush(target->file) == 0 && !ferror(target->file);
    if (good && written && target->temporary != NULL) {
        written = fsync(fileno(target->file)) == 0;
    }
    if (target->path != NULL) {
        written = fclose(target->file) == 0 && written;
    }
    if (good && written && target->temporary != NULL) {
        written = keep_temporary(target);
    }
    if (good && !written) {
        sc_fail(why, SC_IO, "%s could not be written: %s",
                target->path != NULL ? target->path : "standard output", strerror(errno));
    }
    if (target->temporary != NULL && !(good && written)) {
        (void)unlink(target->temporary);
    }
    free(target->temporary);
    return !good || written;
}

/* ---- The records ---- */

/* An export under way. */
struct job {
    struct sc_cli *cli;
    struct target target;
    struct sc_progress progress;
    uint64_t total; /* keys when it began; 0: not known */
    uint64_t written;
    /* The present page: its entries, and where in it each begins. */
    struct sc_slice keys[SC_SCAN_LIMIT_DEFAULT];
    struct sc_slice values[SC_SCAN_LIMIT_DEFAULT];
    uint32_t count;
    struct sc_buf line;
};

static bool read_page(struct job *job, struct sc_cli_pages *pages)
{
    job->count = 0;
    while (pages->count > 0) {
        if (job->count == SC_SCAN_LIMIT_DEFAULT ||
            !sc_cli_pages_entry(pages, &job->keys[job->count], &job->values[job->count])) {
            return false;
        }
        job->count++;
    }
    return true;
}

static bool write_record(struct job *job, uint32_t i, uint64_t ttl_ms)
{
    struct sc_buf *line = &job->line;
    char ttl[48];
    line->size = 0;
    sc_buf_append(line, "{\"key\":", 7);
    sc_json_write_key(job->keys[i], line);
    sc_buf_append(line, ",\"value\":", 9);
    if (sc_json_write(job->values[i], line, NULL) != SC_OK) {
        return false;
    }
    int size = ttl_ms > 0 ? snprintf(ttl, sizeof ttl, ",\"ttl_ms\":%" PRIu64, ttl_ms) : 0;
    sc_buf_append(line, ttl, (size_t)size);
    sc_buf_append(line, "}\n", 2);
    fwrite(line->data, 1, line->size, job->target.file);
    job->written++;
    return true;
}

/* Reads the time that a key has left from a reply to meta; 0 when it does not expire. */
static bool read_ttl(struct sc_mp *result, uint64_t *ttl_ms)
{
    uint32_t members = 0;
    *ttl_ms = 0;
    if (!sc_mp_map(result, &members)) {
        return false;
    }
    for (uint32_t i = 0; i < members; i++) {
        struct sc_slice name = {NULL, 0};
        struct sc_slice value = {NULL, 0};
        if (!sc_mp_str(result, &name) || !sc_mp_skip(result, &value)) {
            return false;
        }
        struct sc_mp mp = sc_mp(value);
        if (sc_slice_equal(name, sc_slice_str("ttl_ms")) && sc_mp_peek(&mp) == SC_MP_UINT) {
            (void)sc_mp_uint(&mp, ttl_ms);
            *ttl_ms = *ttl_ms > 0 ? *ttl_ms : 1;
        }
    }
    return true;
}

/* Writes the records of the page with the answers to their metas. */
static int write_page(struct job *job, struct sc_cli_reply *metas)
{
    uint32_t count = 0;
    if (!sc_mp_array(&metas->result, &count) || count != job->count) {
        return sc_cli_garbled(job->cli, "export");
    }
    for (uint32_t i = 0; i < count; i++) {
        struct sc_slice raw = {NULL, 0};
        struct sc_msg_reply item;
        uint64_t ttl_ms = 0;
        if (!sc_mp_skip(&metas->result, &raw) || !sc_msg_parse_reply(raw, &item)) {
            return sc_cli_garbled(job->cli, "export");
        }
        if (item.status == SC_NOTFOUND) {
            continue; /* removed or expired since the page was read */
        }
        if (item.status != SC_OK) {
            return sc_cli_complain(job->cli, SC_CLI_ERROR, "export: %.*s (status %d, %s)%s",
                                   (int)item.why.size, (const char *)item.why.data, item.status,
                                   sc_status_str(item.status), sc_cli_advice(item.status));
        }
        if (!read_ttl(&item.result, &ttl_ms) || !write_record(job, i, ttl_ms)) {
            return sc_cli_garbled(job->cli, "export");
        }
    }
    return SC_CLI_DONE;
}

/* A scan tells keys and values; what time each key has left takes a meta. */
static int export_page(struct job *job)
{
    struct sc_buf request = {0};
    struct sc_cli_reply metas;
    sc_msg_put_op(&request, SC_OP_BATCH, 1);
    sc_mp_put_array(&request, job->count);
    for (uint32_t i = 0; i < job->count; i++) {
        sc_msg_put_key_request(&request, SC_OP_META, job->keys[i]);
    }
    int code = sc_cli_ask(job->cli, "export", sc_buf_slice(&request), &metas);
    sc_buf_fini(&request);
    if (code == SC_CLI_DONE) {
        code = write_page(job, &metas);
        sc_cli_reply_fini(&metas);
    }
    return code;
}

static int export_pages(struct job *job)
{
    struct sc_cli_pages pages = {.limit = SC_SCAN_LIMIT_DEFAULT, .values = true};
    bool more = true;
    int code = SC_CLI_DONE;
    while (code == SC_CLI_DONE && !ferror(job->target.file)) {
        code = sc_cli_pages_next(job->cli, &pages, "export", &more);
        if (code != SC_CLI_DONE || !more) {
            break;
        }
        if (!read_page(job, &pages)) {
            code = sc_cli_garbled(job->cli, "export");
        } else if (job->count > 0) {
            code = export_page(job);
        }
        sc_progress_update(&job->progress, job->written, job->total, job->written);
        if (code == SC_CLI_DONE && sc_cli_interrupted()) {
            sc_progress_clear(&job->progress);
            code = sc_cli_complain(job->cli, SC_CLI_ERROR, "export: interrupted");
        }
    }
    sc_progress_clear(&job->progress);
    sc_cli_pages_fini(&pages);
    return code;
}

/* How many keys there are, for the progress bar. */
static int count_keys(struct job *job)
{
    struct sc_buf request = {0};
    struct sc_cli_reply reply;
    sc_msg_put_op(&request, SC_OP_COUNT, 0);
    int code = sc_cli_ask(job->cli, "export", sc_buf_slice(&request), &reply);
    sc_buf_fini(&request);
    if (code == SC_CLI_DONE) {
        (void)sc_mp_uint(&reply.result, &job->total);
        sc_cli_reply_fini(&reply);
    }
    return code;
}

int sc_cli_export(struct sc_cli *cli, const struct sc_cli_args *args)
{
    char why[SC_WHY_SIZE] = "";
    struct job *job = sc_calloc(1, sizeof *job);
    job->cli = cli;
    int code = sc_cli_connect(cli);
    if (code != SC_CLI_DONE) {
        goto out;
    }
    if (!open_target(&job->target, args->words[0], cli->out, why)) {
        code = sc_cli_complain(cli, SC_CLI_USAGE, "export: %s", why);
        goto out;
    }
    bool records_on_terminal = job->target.path == NULL && cli->out_terminal;
    sc_progress_init(&job->progress, cli->err, cli->err_terminal && !records_on_terminal, "export",
                     "records");
    sc_cli_catch_interrupts();
    code = count_keys(job);
    if (code == SC_CLI_DONE) {
        code = export_pages(job);
    }
    if (!close_target(&job->target, code == SC_CLI_DONE, why)) {
        code = sc_cli_complain(cli, SC_CLI_ERROR, "export: %s", why);
    } else if (code == SC_CLI_DONE && job->target.path != NULL) {
        fprintf(cli->out, "{\"exported\":%" PRIu64 ",\"seconds\":%.3f}\n", job->written,
                sc_progress_seconds(&job->progress));
    }
out:
    sc_buf_fini(&job->line);
    free(job);
    return code;
}
