/*
 * Import of a directory of pybitcask.
 *
 * Of two records of one key the one with the later time counts, and of equal ones the one that
 * stands later by (number of the file, offset); a tombstone takes part like a value. (pybitcask
 * itself goes by other rules when it opens a directory, and so loses writes and brings deleted keys
 * back; what it was told to keep is what this gives.)
 *
 * Values are JSON as Python writes it: NaN and the infinities are taken as the floats that they
 * are.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "client/json.h"
#include "common/mp.h"
#include "common/utf8.h"
#include "tools/import_log.h"
#include "tools/pybitcask.h"

#define PREFIX "data_"
#define SUFFIX ".db"

/* Begins the index's key for a JSON string that stands for no Unicode text: a byte that no UTF-8
 * has. */
#define NO_TEXT 0xff

struct sc_import_reader {
    struct sc_import_log log;
    struct sc_buf key; /* of the present JSON record */
    struct sc_buf value; /* encoded */
};

/* The bytes of a record's key; valid until the next call. */
static struct sc_slice record_key(struct sc_import_reader *reader,
                                  const struct sc_pybitcask_record *record)
{
    if (!record->key_is_json) {
        return record->key;
    }
    enum sc_json_fault fault;
    struct sc_slice key;
    reader->key.size = 0;
    if (sc_json_read_python(record->key, &reader->key, &fault, NULL) == SC_OK) {
        struct sc_mp mp = sc_mp(sc_buf_slice(&reader->key));
        if (sc_mp_str(&mp, &key)) {
            return key;
        }
    }
    reader->key.size = 0;
    sc_buf_append(&reader->key, &(uint8_t){NO_TEXT}, 1);
    sc_buf_append_slice(&reader->key, record->key);
    return sc_buf_slice(&reader->key);
}

/* Keeps a record in the index if it is newer than what is there. */
static void keep(struct sc_import_log *log, const struct sc_pybitcask_record *record)
{
    bool is_new;
    struct sc_import_entry *entry =
        sc_import_index_entry(&log->index, record_key(log->context, record), &is_new);
    if (is_new || record->time_ms >= entry->order) {
        entry->offset = log->offset;
        entry->order = record->time_ms;
        entry->file = log->file;
        entry->state = record->deleted ? SC_IMPORT_DELETED : SC_IMPORT_LIVE;
    }
}

static enum sc_import_result scan(struct sc_import_log *log, struct sc_import_record *out,
                                  char *why)
{
    struct sc_slice bytes = sc_import_log_bytes(log, log->offset);
    if (bytes.size == 0) {
        return SC_IMPORT_END;
    }
    if (log->offset == 0) {
        log->offset = 1; /* the format byte */
        return SC_IMPORT_BUSY;
    }
    struct sc_pybitcask_record record;
    if (sc_pybitcask_read(bytes, &record)) {
        keep(log, &record);
        log->offset += record.size;
        return SC_IMPORT_BUSY;
    }
    uint8_t first = *(const uint8_t *)bytes.data;
    if (first == SC_PYBITCASK_MODE_PROTOBUF || first == SC_PYBITCASK_MODE_JSON) {
        log->offset++; /* rotation puts one into a file that is there already */
        return SC_IMPORT_BUSY;
    }
    size_t size = sc_pybitcask_find(bytes, 1);
    sc_fail(why, SC_CORRUPT, "%zu bytes are no record: %s", size,
            size == bytes.size ? "cut off or damaged, to the end of the file" : "damaged");
    out->kind = SC_IMPORT_STRETCH;
    log->offset += size;
    return SC_IMPORT_LEFT_OUT;
}

static enum sc_import_kind fault_kind(enum sc_json_fault fault)
{
    switch (fault) {
    case SC_JSON_INTEGER:
        return SC_IMPORT_INTEGER;
    case SC_JSON_NESTING:
        return SC_IMPORT_NESTING;
    case SC_JSON_SURROGATE:
        return SC_IMPORT_VALUE_TEXT;
    case SC_JSON_SYNTAX:
        break;
    }
    return SC_IMPORT_NO_JSON;
}

static enum sc_import_result read_live(struct sc_import_log *log,
                                       const struct sc_import_entry *entry,
                                       struct sc_import_record *record, char *why)
{
    struct sc_import_reader *reader = log->context;
    struct sc_pybitcask_record found;
    if (!sc_utf8_valid(record->key)) {
        const uint8_t *key = record->key.data;
        record->kind = SC_IMPORT_KEY_TEXT;
        if (*key == NO_TEXT) {
            record->key = sc_slice(key + 1, record->key.size - 1);
        }
        sc_fail(why, SC_BADREQUEST, "the key is no Unicode text");
        return SC_IMPORT_LEFT_OUT;
    }
    if (!sc_pybitcask_read(sc_import_log_bytes(log, entry->offset), &found) || found.deleted) {
        record->kind = SC_IMPORT_DAMAGED;
        sc_fail(why, SC_CORRUPT, "the file has changed during the import");
        return SC_IMPORT_LEFT_OUT;
    }
    enum sc_json_fault fault;
    reader->value.size = 0;
    if (sc_json_read_python(found.value, &reader->value, &fault, why) != SC_OK) {
        record->kind = fault_kind(fault);
        return SC_IMPORT_LEFT_OUT;
    }
    record->value = sc_buf_slice(&reader->value);
    return SC_IMPORT_RECORD;
}

static const struct sc_import_log_format log_format = {NULL, scan, read_live};

static bool pybitcask_suits(const char *path)
{
    return sc_import_dir_has(path, PREFIX, SUFFIX);
}

static struct sc_import_reader *pybitcask_open(const char *path,
                                               const struct sc_import_options *options, char *why)
{
    (void)options;
    struct sc_import_dir dir;
    if (sc_import_dir_list(&dir, path, PREFIX, SUFFIX, why) != SC_OK) {
        return NULL;
    }
    if (dir.count == 0) {
        sc_fail(why, SC_BADREQUEST, "%s is no directory of pybitcask: no data_N.db is there", path);
        sc_import_dir_fini(&dir);
        return NULL;
    }
    struct sc_import_reader *reader = sc_calloc(1, sizeof *reader);
    sc_import_log_init(&reader->log, &dir, &log_format, reader);
    return reader;
}

static enum sc_import_result pybitcask_next(struct sc_import_reader *reader,
                                            struct sc_import_record *record, char *why)
{
    return sc_import_log_next(&reader->log, record, why);
}

static void pybitcask_position(const struct sc_import_reader *reader, uint64_t *at, uint64_t *size)
{
    sc_import_log_position(&reader->log, at, size);
}

static void pybitcask_close(struct sc_import_reader *reader)
{
    sc_import_log_fini(&reader->log);
    sc_buf_fini(&reader->key);
    sc_buf_fini(&reader->value);
    free(reader);
}

const struct sc_import_format sc_import_pybitcask = {
    .name = "pybitcask",
    .unit = "offset",
    .suits = pybitcask_suits,
    .open = pybitcask_open,
    .next = pybitcask_next,
    .position = pybitcask_position,
    .close = pybitcask_close,
};
