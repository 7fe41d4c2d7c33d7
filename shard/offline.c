#include "shard/offline.h"

#include "common/clock.h"
#include "common/failpoint.h"
#include "common/jsontext.h"
#include "common/utf8.h"
#include "shard/bitcask.h"
#include "shard/care.h"
#include "shard/damages.h"
#include "shard/merge.h"
#include "shard/reap.h"
#include "shard/repair.h"
#include "shard/scrub.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define KEY_SHOWN 24 /* bytes of a key in a table */
#define PROGRESS_NS UINT64_C(200000000)

struct report {
    const struct sc_offline_output *output;
    struct sc_scrub *scrub;
    struct sc_bitcask *store;
    uint64_t damages;
    uint64_t notes;
    uint64_t drawn_ns; /* progress */
    bool drawn;
    bool head; /* the table's was printed */
    struct sc_care *care; /* repairs */
    struct sc_merge *merge;
    struct sc_buf line;
};

/* ---- Progress ---- */

static void draw(struct report *report, const char *doing, uint64_t done, uint64_t total)
{
    uint64_t now = sc_clock_mono_ns();
    if (report->output->err_terminal && now - report->drawn_ns >= PROGRESS_NS) {
        report->drawn_ns = now;
        report->drawn = true;
        fprintf(report->output->err, "\r\033[K%s: %" PRIu64 " of %" PRIu64 " MiB", doing,
                done >> 20, total >> 20);
        fflush(report->output->err);
    }
}

static void erase(struct report *report)
{
    if (report->drawn) {
        fputs("\r\033[K", report->output->err);
        fflush(report->output->err);
        report->drawn = false;
    }
}

static void on_open_progress(void *arg, uint64_t done, uint64_t total)
{
    draw(arg, "opening", done, total);
}

/* ---- Findings ---- */

static void put_text(struct sc_buf *line, const char *text)
{
    sc_buf_append(line, text, strlen(text));
}

static void print_json(struct report *report, const struct sc_damage *damage, const char *file,
                       const char *meaning)
{
    struct sc_buf *line = &report->line;
    char numbers[96];
    line->size = 0;
    put_text(line, "{\"file\":");
    sc_jsontext_string(line, sc_slice_str(file));
    (void)snprintf(numbers, sizeof numbers, ",\"offset\":%" PRIu64 ",\"size\":%" PRIu64,
                   damage->offset, damage->size);
    put_text(line, numbers);
    put_text(line, ",\"kind\":");
    sc_jsontext_string(line, sc_slice_str(sc_damage_name(damage->kind)));
    if (damage->key.data != NULL) {
        put_text(line, ",\"key\":");
        sc_jsontext_key(line, damage->key);
        put_text(line, damage->live ? ",\"live\":true" : ",\"live\":false");
    }
    put_text(line, damage->unreadable ? ",\"unreadable\":true" : "");
    put_text(line, sc_damage_is_note(damage) ? ",\"damage\":false" : ",\"damage\":true");
    put_text(line, ",\"meaning\":");
    sc_jsontext_string(line, sc_slice_str(meaning));
    put_text(line, "}\n");
    fwrite(line->data, 1, line->size, report->output->out);
}

/* A key as a table shows it: cut when it is long. */
static void put_key(struct sc_buf *line, struct sc_slice key)
{
    size_t size = key.size < KEY_SHOWN ? key.size : KEY_SHOWN;
    while (size > 0 && size < key.size && sc_utf8_valid(key) &&
           !sc_utf8_valid(sc_slice(key.data, size))) {
        size--;
    }
    sc_jsontext_key(line, sc_slice(key.data, size));
    put_text(line, size < key.size ? "..." : "");
}

static void print_row(struct report *report, const struct sc_damage *damage, const char *file,
                      const char *meaning)
{
    struct sc_buf *line = &report->line;
    if (!report->head) {
        fprintf(report->output->out, "%-15s %12s %12s  %-9s %s\n", "FILE", "OFFSET", "SIZE", "KIND",
                "WHAT IT MEANS");
        report->head = true;
    }
    line->size = 0;
    if (damage->key.data != NULL) {
        put_text(line, "key ");
        put_key(line, damage->key);
        put_text(line, ": ");
    }
    put_text(line, meaning);
    put_text(line, damage->unreadable ? " (the disk gives an error)" : "");
    fprintf(report->output->out, "%-15s %12" PRIu64 " %12" PRIu64 "  %-9s %.*s\n", file,
            damage->offset, damage->size, sc_damage_name(damage->kind), (int)line->size,
            (const char *)line->data);
}

static void print(struct report *report, const struct sc_damage *damage, const char *meaning)
{
    char file[SC_FILES_NAME_SIZE];
    sc_damage_file(damage, file);
    erase(report);
    if (sc_damage_is_note(damage)) {
        report->notes++;
    } else {
        report->damages++;
    }
    if (report->output->out_terminal) {
        print_row(report, damage, file, meaning);
    } else {
        print_json(report, damage, file, meaning);
    }
    fflush(report->output->out);
}

static void on_found(void *arg, const struct sc_damage *damage)
{
    print(arg, damage, sc_damage_meaning(damage));
}

/* ---- Checking ---- */

static void no_lock(void *arg)
{
    (void)arg; /* there is no other thread */
}

static bool on_proceed(void *arg, uint64_t bytes)
{
    struct report *report = arg;
    struct sc_scrub_figures figures;
    (void)bytes;
    sc_scrub_figures(report->scrub, &figures);
    draw(report, "checking", figures.bytes_done, figures.bytes);
    return true;
}

static void no_begin(void *arg, uint64_t file)
{
    (void)arg;
    (void)file;
}

static void no_end(void *arg, uint64_t file, bool whole)
{
    (void)arg;
    (void)file;
    (void)whole;
}

/* The scrub finds everything that opening tells of. */
static void no_event(void *arg, const struct sc_bitcask_event *event)
{
    (void)arg;
    (void)event;
}

static enum sc_status open_store(struct report *report, const char *dir, bool read_only, char *why)
{
    const struct sc_bitcask_options options = {
        .file_size_max = SC_BITCASK_FILE_SIZE_DEFAULT,
        .value_max = SC_VALUE_MAX_DEFAULT,
        .sync_ms = SC_BITCASK_SYNC_NEVER,
        .read_only = read_only,
        .salvage = true,
        .on_progress = on_open_progress,
        .progress_arg = report,
    };
    enum sc_status status = sc_bitcask_open(dir, &options, no_event, NULL, &report->store, why);
    erase(report);
    return status;
}

static void print_summary(struct report *report, const char *dir)
{
    struct sc_scrub_figures figures;
    sc_scrub_figures(report->scrub, &figures);
    fprintf(report->output->err,
            "%s: %" PRIu64 " data files with %" PRIu64 " bytes were read; %" PRIu64
            " damaged places, %" PRIu64 " notes\n",
            dir, figures.files, figures.bytes_done, report->damages, report->notes);
}

enum sc_offline_exit sc_offline_check(const char *dir, const struct sc_offline_output *output)
{
    char why[SC_WHY_SIZE] = "";
    struct report report = {.output = output};
    enum sc_status status = open_store(&report, dir, true, why);
    if (status == SC_CORRUPT) {
        const struct sc_damage damage = {.kind = SC_DAMAGE_MANIFEST};
        print(&report, &damage, why);
    }
    if (status == SC_OK) {
        const struct sc_scrub_host host = {no_lock,  no_lock, on_proceed, no_begin,
                                           on_found, no_end,  &report};
        report.scrub = sc_scrub_alloc(report.store);
        status = sc_scrub_run(report.scrub, &host, true, true, why);
        erase(&report);
        print_summary(&report, dir);
        sc_scrub_free(report.scrub);
        (void)sc_bitcask_close(report.store); /* it was opened for reading only */
    }
    sc_buf_fini(&report.line);
    if (status != SC_OK) {
        fprintf(output->err, "%s\n", why);
    }
    if (report.damages > 0) {
        return SC_OFFLINE_DAMAGED;
    }
    return status == SC_OK ? SC_OFFLINE_CLEAN : SC_OFFLINE_FAILED;
}

/* ---- Repairing ---- */

/* Tells of something that was done. */
static void on_done(void *arg, const char *sentence)
{
    struct report *report = arg;
    struct sc_buf *line = &report->line;
    erase(report);
    if (report->output->out_terminal) {
        fprintf(report->output->out, "%s\n", sentence);
    } else {
        line->size = 0;
        put_text(line, "{\"repair\":");
        sc_jsontext_string(line, sc_slice_str(sentence));
        put_text(line, "}\n");
        fwrite(line->data, 1, line->size, report->output->out);
    }
    fflush(report->output->out);
}

static void care_begin(void *arg, uint64_t file)
{
    struct report *report = arg;
    sc_care_begin(report->care, file);
}

static void care_found(void *arg, const struct sc_damage *damage)
{
    struct report *report = arg;
    on_found(report, damage);
    sc_care_found(report->care, damage);
}

static void care_end(void *arg, uint64_t file, bool whole)
{
    struct report *report = arg;
    sc_care_end(report->care, file, whole);
}

/* Reads everything, and sees to what is damaged. */
static enum sc_status scrub_with_care(struct report *report, char *why)
{
    const struct sc_scrub_host host = {no_lock,    no_lock,  on_proceed, care_begin,
                                       care_found, care_end, report};
    report->damages = 0;
    enum sc_status status = sc_scrub_run(report->scrub, &host, true, false, why);
    if (status == SC_OK && sc_bitcask_commit(report->store, true) != SC_OK) {
        status = sc_fail(why, SC_IO, "what was found could not be noted");
    }
    erase(report);
    return status;
}

static bool merge_sync(void *arg)
{
    struct report *report = arg;
    return sc_bitcask_commit(report->store, true) == SC_OK;
}

static bool merge_proceed(void *arg, uint64_t bytes)
{
    struct report *report = arg;
    struct sc_merge_figures figures;
    (void)bytes;
    sc_merge_figures(report->merge, &figures);
    draw(report, "rewriting", figures.bytes_done, figures.bytes);
    return true;
}

/* Rewrites the files with damage. What cannot be decided is left. */
static enum sc_status rewrite(struct report *report, bool accept_loss, char *why)
{
    const struct sc_merge_host host = {no_lock, no_lock, merge_sync, merge_proceed, report};
    char sentence[SC_WHY_SIZE];
    enum sc_status status = SC_OK;
    sc_merge_repair(report->merge, accept_loss);
    while (status == SC_OK || status == SC_CORRUPT) {
        struct sc_merge_figures before;
        struct sc_merge_figures after;
        sc_merge_figures(report->merge, &before);
        status = sc_merge_run(report->merge, &host, why);
        sc_merge_figures(report->merge, &after);
        if (status == SC_OK) {
            sc_why(sentence,
                   "%" PRIu64 " bytes of damaged files were rewritten; the old files are "
                   "in the quarantine",
                   after.read_bytes - before.read_bytes);
            on_done(report, sentence);
        }
    }
    erase(report);
    return status == SC_NOTFOUND ? SC_OK : status;
}

static void build_hints(struct report *report)
{
    uint64_t number;
    while (sc_bitcask_hint_pending(report->store, &number)) {
        enum sc_status status = sc_bitcask_hint_build(report->store, number);
        sc_bitcask_hint_built(report->store, number, status);
    }
}

/* Removes what was replaced. */
static void remove_replaced(struct report *report)
{
    struct sc_reap_list list = {.count = 0};
    do {
        sc_reap_remove(report->store, &list);
        sc_reap_take(report->store, &list);
    } while (list.count > 0);
}

static enum sc_status mend(struct report *report, bool accept_loss, char *why)
{
    build_hints(report);
    enum sc_status status = scrub_with_care(report, why);
    if (status == SC_OK) {
        status = rewrite(report, accept_loss, why);
        remove_replaced(report);
    }
    if (status == SC_OK) {
        build_hints(report);
        fputs("Reading everything again:\n", report->output->err);
        status = scrub_with_care(report, why);
    }
    return status;
}

/* Values that are lost are no damage any more: the store says so itself. */
static uint64_t count_left(const struct report *report)
{
    const struct sc_damages *damages = sc_bitcask_damages(report->store);
    uint64_t left = damages->overflow;
    for (size_t i = 0; i < damages->count; i++) {
        left += damages->entries[i].damage.kind != SC_DAMAGE_LOST ? 1 : 0;
    }
    return left;
}

static enum sc_status open_and_mend(struct report *report, const char *dir, bool accept_loss,
                                    uint64_t *left, char *why)
{
    const struct sc_care_host host = {no_lock, no_lock, NULL};
    enum sc_status status = open_store(report, dir, false, why);
    if (status != SC_OK) {
        return status;
    }
    if (sc_bitcask_merges_held(report->store)) {
        status = sc_fail(why, SC_BUSY,
                         "slots are on their way to or from %s: start the fleet, and let the move "
                         "come to its end first",
                         dir);
    }
    report->scrub = sc_scrub_alloc(report->store);
    report->care = sc_care_alloc(report->store, &host);
    report->merge = sc_merge_alloc(report->store);
    if (status == SC_OK) {
        status = mend(report, accept_loss, why);
        *left = count_left(report);
        print_summary(report, dir);
    }
    sc_merge_free(report->merge);
    sc_care_free(report->care);
    sc_scrub_free(report->scrub);
    if (sc_bitcask_close(report->store) != SC_OK && status == SC_OK) {
        status = sc_fail(why, SC_IO, "closing %s failed: see above", dir);
    }
    return status;
}

enum sc_offline_exit sc_offline_repair(const char *dir, bool accept_loss,
                                       const struct sc_offline_output *output)
{
    char why[SC_WHY_SIZE] = "";
    struct report report = {.output = output};
    uint64_t left = 0;
    sc_failpoint_init();
    enum sc_status status = sc_repair_prepare(dir, on_done, &report, why);
    if (status == SC_OK) {
        status = open_and_mend(&report, dir, accept_loss, &left, why);
    }
    sc_buf_fini(&report.line);
    if (status != SC_OK) {
        fprintf(output->err, "%s\n", why);
        return status == SC_CORRUPT ? SC_OFFLINE_DAMAGED : SC_OFFLINE_FAILED;
    }
    if (left > 0) {
        fprintf(
            output->err,
            "%s: nobody can know what stood in some damaged places, so their files were left as "
            "they are; --accept-loss lets go of it: then keys may be missing, have older values, "
            "or be back although they were deleted\n",
            dir);
    }
    return left > 0 ? SC_OFFLINE_DAMAGED : SC_OFFLINE_CLEAN;
}
