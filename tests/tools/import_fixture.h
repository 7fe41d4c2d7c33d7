/* What tests of the import readers share: read a source to its end, and compare what came out with
 * what is expected. */
#ifndef SC_TESTS_IMPORT_FIXTURE_H
#define SC_TESTS_IMPORT_FIXTURE_H

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/mp.h"
#include "common/slot.h"
#include "tests/check_main.h"
#include "tests/random.h"
#include "tools/import.h"

/* A key that was imported or left out, as the lines of an .expected file have it. */
struct found {
    uint64_t key;
    uint64_t value; /* 0 when it was left out */
    uint64_t expire_ms;
    bool imported;
    enum sc_import_kind kind; /* of what was left out */
};

struct outcome {
    struct found *found; /* sorted by key */
    size_t count;
    size_t imported;
    uint64_t kinds[SC_IMPORT_KINDS]; /* what was left out or noted */
    bool failed;
    char why[SC_WHY_SIZE]; /* the last sentence */
    uint64_t last_offset; /* of what was left out last */
    char last_file[64];
};

static inline int compare_found(const void *a, const void *b)
{
    const struct found *one = a;
    const struct found *two = b;
    return one->key < two->key ? -1 : one->key > two->key;
}

static inline void add_found(struct outcome *outcome, struct found found)
{
    if ((outcome->count & (outcome->count - 1)) == 0) {
        size_t room = outcome->count == 0 ? 1 : 2 * outcome->count;
        outcome->found = sc_realloc(outcome->found, room * sizeof *outcome->found);
    }
    outcome->found[outcome->count++] = found;
}

static inline void take_record(struct outcome *outcome, const struct sc_import_record *record)
{
    must(record->key.size >= 1 && record->key.size <= SC_KEY_MAX);
    must(sc_mp_valid(record->value));
    must(record->ttl_ms <= SC_TTL_MS_MAX && (record->ttl_ms == 0 || record->expires_ms == 0));
    outcome->imported++;
    add_found(outcome,
              (struct found){
                  .key = sc_slot_hash(record->key),
                  .value = sc_slot_hash(record->value),
                  .expire_ms = record->ttl_ms == 0 ? record->expires_ms
                                                   : record->ttl_ms + sc_clock_wall_us() / 1000,
                  .imported = true,
              });
}

static inline void take_left_out(struct outcome *outcome, const struct sc_import_record *record)
{
    outcome->last_offset = record->number;
    snprintf(outcome->last_file, sizeof outcome->last_file, "%s",
             record->file != NULL ? record->file : "");
    if (record->kind == SC_IMPORT_OTHER_DB) {
        return; /* the same key may be in the database that was chosen */
    }
    add_found(outcome, (struct found){
                           .key = sc_slot_hash(record->key),
                           .kind = record->kind,
                       });
}

/* Reads everything in `path`. */
static inline struct outcome import_with(const struct sc_import_format *format, const char *path,
                                         struct sc_import_options options)
{
    struct outcome outcome = {0};
    struct sc_import_reader *reader = format->open(path, &options, outcome.why);
    outcome.failed = reader == NULL;
    while (!outcome.failed) {
        struct sc_import_record record = {0};
        uint64_t at = 0;
        uint64_t size = 0;
        enum sc_import_result result = format->next(reader, &record, outcome.why);
        format->position(reader, &at, &size);
        must(at <= size);
        if (result == SC_IMPORT_END) {
            break;
        }
        outcome.failed = result == SC_IMPORT_FAILED;
        if (result == SC_IMPORT_RECORD) {
            take_record(&outcome, &record);
        } else if (result == SC_IMPORT_LEFT_OUT || result == SC_IMPORT_NOTE) {
            must(record.kind < SC_IMPORT_KINDS);
            must(*outcome.why != '\0');
            outcome.kinds[record.kind]++;
            if (result == SC_IMPORT_LEFT_OUT) {
                take_left_out(&outcome, &record);
            }
        }
    }
    if (reader != NULL) {
        format->close(reader);
    }
    if (outcome.count > 0) {
        qsort(outcome.found, outcome.count, sizeof *outcome.found, compare_found);
    }
    return outcome;
}

static inline struct outcome import_path(const struct sc_import_format *format, const char *path)
{
    return import_with(format, path, (struct sc_import_options){.db = -1});
}

static inline void outcome_fini(struct outcome *outcome)
{
    free(outcome->found);
    *outcome = (struct outcome){0};
}

/* The value of a key, as XXH3 of its msgpack; 0 when it was not imported. */
static inline uint64_t found_value(const struct outcome *outcome, const char *key)
{
    struct found wanted = {.key = sc_slot_hash(sc_slice_str(key))};
    const struct found *found =
        outcome->count == 0
            ? NULL
            : bsearch(&wanted, outcome->found, outcome->count, sizeof wanted, compare_found);
    return found != NULL && found->imported ? found->value : 0;
}

/* Whether a key was imported with this text as its value: as a str, or as a bin. */
static inline bool found_text(const struct outcome *outcome, const char *key, const char *text,
                              bool is_bin)
{
    struct sc_buf packed = {0};
    if (is_bin) {
        sc_mp_put_bin(&packed, sc_slice_str(text));
    } else {
        sc_mp_put_cstr(&packed, text);
    }
    bool same = found_value(outcome, key) == sc_slot_hash(sc_buf_slice(&packed));
    sc_buf_fini(&packed);
    return same;
}

/* ---- The samples ---- */

static inline const char *sample_path(const char *name)
{
    static char path[PATH_MAX + 64];
    const char *other = getenv("SC_TEST_DATA");
    snprintf(path, sizeof path, "%s/%s", other != NULL ? other : SAMPLES, name);
    return path;
}

/* ---- Sources made by a test ---- */

static inline void make_dir(char *path)
{
    const char *base = getenv("TMPDIR");
    snprintf(path, PATH_MAX, "%s/sc-import-XXXXXX", base != NULL ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(path));
}

static inline void write_file(const char *dir, const char *name, struct sc_slice content)
{
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    must(file != NULL);
    must(fwrite(content.data, 1, content.size, file) == content.size);
    must(fclose(file) == 0);
}

static inline void remove_file(const char *dir, const char *name)
{
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    must(unlink(path) == 0);
}

/* Reads a whole file; the result is to be freed. */
static inline struct sc_buf read_file(const char *path)
{
    struct sc_buf content = {0};
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "%s", path);
    size_t got;
    do {
        got = fread(sc_buf_reserve(&content, 65536), 1, 65536, file);
        content.size += got;
    } while (got > 0);
    fclose(file);
    return content;
}

#endif
