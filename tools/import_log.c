#include "tools/import_log.h"

#include <assert.h>
#include <limits.h>

#define STEPS 4096 /* of scanning in one call at most */

void sc_import_log_init(struct sc_import_log *log, struct sc_import_dir *dir,
                        const struct sc_import_log_format *format, void *context)
{
    *log = (struct sc_import_log){.dir = *dir, .format = format, .context = context};
    *dir = (struct sc_import_dir){0};
}

static void unmap(struct sc_import_log *log)
{
    if (log->mapped) {
        sc_import_map_close(&log->map);
        log->mapped = false;
    }
}

/* Maps the present file. */
static bool map(struct sc_import_log *log, char *why)
{
    char path[PATH_MAX];
    const char *name = log->dir.files[log->file].name;
    if (!sc_import_dir_path(&log->dir, name, path)) {
        sc_fail(why, SC_IO, "the path of %s is too long", name);
        return false;
    }
    log->mapped = sc_import_map_open(&log->map, path, why) == SC_OK;
    return log->mapped;
}

static void next_file(struct sc_import_log *log)
{
    unmap(log);
    log->passed += log->dir.files[log->file].size;
    log->file++;
    log->offset = 0;
}

/* Does one step of scanning in the present file. */
static enum sc_import_result scan_step(struct sc_import_log *log, struct sc_import_record *record,
                                       char *why)
{
    *record = (struct sc_import_record){.file = log->dir.files[log->file].name};
    if (!log->mapped) {
        if (!map(log, why)) {
            return SC_IMPORT_FAILED;
        }
        enum sc_import_result result =
            log->format->begin != NULL ? log->format->begin(log, record, why) : SC_IMPORT_BUSY;
        if (result == SC_IMPORT_NOTE) {
            next_file(log);
        }
        return result;
    }
    record->number = log->offset;
    enum sc_import_result result = log->format->scan(log, record, why);
    assert(result != SC_IMPORT_RECORD && log->offset <= log->map.size);
    if (result == SC_IMPORT_END) {
        next_file(log);
        return SC_IMPORT_BUSY;
    }
    return result;
}

static void begin_reading(struct sc_import_log *log)
{
    sc_import_index_sort(&log->index);
    log->reading = true;
    log->file = 0;
    log->passed = 0;
}

/* Reads the record of an entry. */
static enum sc_import_result read_entry(struct sc_import_log *log,
                                        const struct sc_import_entry *entry,
                                        struct sc_import_record *record, char *why)
{
    while (log->file < entry->file) {
        next_file(log);
    }
    *record = (struct sc_import_record){
        .key = sc_import_index_key(&log->index, entry),
        .number = entry->offset,
        .file = log->dir.files[entry->file].name,
    };
    /* What is known of an entry behind the end of its file is that it was there. */
    uint64_t size = log->dir.files[entry->file].size;
    log->offset = entry->offset < size ? entry->offset : size;
    if (entry->state == SC_IMPORT_UNREADABLE) {
        record->kind = SC_IMPORT_DAMAGED;
        sc_fail(why, SC_CORRUPT, "the newest record of the key is damaged");
        return SC_IMPORT_LEFT_OUT;
    }
    if (!log->mapped && !map(log, why)) {
        return SC_IMPORT_FAILED;
    }
    enum sc_import_result result = SC_IMPORT_LEFT_OUT;
    if (entry->offset < log->map.size) {
        result = log->format->read(log, entry, record, why);
    } else {
        record->kind = SC_IMPORT_DAMAGED;
        sc_fail(why, SC_CORRUPT, "the file has become shorter during the import");
    }
    return result == SC_IMPORT_RECORD ? sc_import_check_key(record, why) : result;
}

enum sc_import_result sc_import_log_next(struct sc_import_log *log, struct sc_import_record *record,
                                         char *why)
{
    for (int i = 0; i < STEPS && !log->reading; i++) {
        if (log->file == log->dir.count) {
            begin_reading(log);
            break;
        }
        enum sc_import_result result = scan_step(log, record, why);
        if (result != SC_IMPORT_BUSY) {
            return result;
        }
    }
    if (!log->reading) {
        return SC_IMPORT_BUSY;
    }
    while (log->entry < log->index.count) {
        const struct sc_import_entry *entry = &log->index.entries[log->entry++];
        if (entry->state != SC_IMPORT_DELETED) {
            return read_entry(log, entry, record, why);
        }
    }
    *record = (struct sc_import_record){0};
    return SC_IMPORT_END;
}

void sc_import_log_position(const struct sc_import_log *log, uint64_t *at, uint64_t *size)
{
    /* Every byte is looked at twice. */
    *size = 2 * log->dir.size;
    *at = log->passed + log->offset + (log->reading ? log->dir.size : 0);
}

void sc_import_log_fini(struct sc_import_log *log)
{
    unmap(log);
    sc_import_index_fini(&log->index);
    sc_import_dir_fini(&log->dir);
}
