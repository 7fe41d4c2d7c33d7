/*
 * Import of the string keys of an RDB file.
 *
 * The whole file is checked first, its structure and then its checksum, and nothing is handed out
 * of one that is damaged: Redis would not load it either. With the option to salvage, the damage is
 * told and what can be read is handed out. Keys of one database are taken; a file with keys in
 * several is refused unless one is chosen.
 *
 * Keys that have expired by now are dropped, as Redis drops them when it loads the file.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/limits.h"
#include "tools/crc.h"
#include "tools/import.h"
#include "tools/import_map.h"
#include "tools/rdb.h"

#define STEPS 4096 /* items to be checked in one call at most */
#define SUM_STEP ((size_t)16 << 20) /* bytes to be summed in one call */
#define CHECKSUM_SIZE 8u
#define CHECKSUM_VERSION 5u /* the first with a checksum */

enum phase { CHECKING, SUMMING, READING, ENDED };

struct sc_import_reader {
    struct sc_import_map map;
    struct sc_import_options options;
    enum phase phase;
    struct sc_rdb rdb;
    uint64_t db; /* the one whose keys are taken */
    bool db_seen; /* a key was found, in `db`, while checking */
    struct sc_crc crc;
    uint64_t sum; /* of the bytes before sum_at */
    size_t sum_at;
    size_t end; /* behind the opcode of the end */
    struct sc_buf key;
    struct sc_buf value;
    struct sc_buf encoded;
    bool pending; /* a note was given about the record that comes next: */
    struct sc_import_record next;
};

static bool rdb_suits(const char *path)
{
    struct stat info;
    struct sc_import_map map;
    struct sc_rdb rdb;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode) ||
        sc_import_map_open(&map, path, NULL) != SC_OK) {
        return false;
    }
    bool suits = sc_rdb_open(&rdb, sc_slice(map.data, map.size));
    sc_import_map_close(&map);
    return suits;
}

static struct sc_import_reader *rdb_open(const char *path, const struct sc_import_options *options,
                                         char *why)
{
    struct sc_import_map map = {0};
    struct sc_rdb rdb;
    if (sc_import_map_open(&map, path, why) != SC_OK) {
        return NULL;
    }
    if (!sc_rdb_open(&rdb, sc_slice(map.data, map.size))) {
        sc_why(why, "%s is no RDB file: it begins with neither REDIS nor VALKEY and a version",
               path);
        sc_import_map_close(&map);
        return NULL;
    }
    struct sc_import_reader *reader = sc_calloc(1, sizeof *reader);
    reader->map = map;
    reader->rdb = rdb;
    reader->options = *options;
    reader->db = options->db >= 0 ? (uint64_t)options->db : 0;
    sc_crc_init(&reader->crc, SC_CRC_64_JONES);
    return reader;
}

static void rdb_close(struct sc_import_reader *reader)
{
    sc_import_map_close(&reader->map);
    sc_buf_fini(&reader->key);
    sc_buf_fini(&reader->value);
    sc_buf_fini(&reader->encoded);
    free(reader);
}

static void rdb_position(const struct sc_import_reader *reader, uint64_t *at, uint64_t *size)
{
    /* Every byte is looked at three times. */
    *size = 3 * (uint64_t)reader->map.size;
    uint64_t done = (uint64_t)(reader->rdb.at - reader->rdb.start);
    switch (reader->phase) {
    case CHECKING:
        *at = done;
        return;
    case SUMMING:
        *at = reader->map.size + reader->sum_at;
        return;
    case READING:
        *at = 2 * (uint64_t)reader->map.size + done;
        return;
    case ENDED:
        *at = *size;
        return;
    }
}

/* ---- Checking ---- */

static void begin_reading(struct sc_import_reader *reader)
{
    (void)sc_rdb_open(&reader->rdb, sc_slice(reader->map.data, reader->map.size));
    reader->phase = READING;
}

/* Ends the import of a file that is damaged, unless it is to be salvaged. */
static enum sc_import_result refuse(struct sc_import_reader *reader, const char *what, char *why)
{
    char copy[SC_WHY_SIZE];
    sc_why(copy, "%s", what);
    sc_why(why,
           "%s: nothing of this file was imported; --salvage imports what can be read (as if "
           "nothing was wrong with it)",
           copy);
    reader->phase = ENDED;
    return SC_IMPORT_FAILED;
}

/* Counts a key while checking; false when it is in another database than those before and none was
 * chosen. */
static bool see_db(struct sc_import_reader *reader, uint64_t db, char *why)
{
    if (reader->options.db >= 0) {
        return true;
    }
    if (reader->db_seen && reader->db != db) {
        sc_why(why,
               "the file has keys in several databases (%" PRIu64 " and %" PRIu64
               " for example): choose one with --db N; nothing was imported",
               reader->db, db);
        reader->phase = ENDED;
        return false;
    }
    reader->db = db;
    reader->db_seen = true;
    return true;
}

/* After the opcode of the end: goes on to the checksum, if there is one. */
static enum sc_import_result check_end(struct sc_import_reader *reader, char *why)
{
    size_t left = (size_t)(reader->rdb.end - reader->rdb.at);
    reader->end = reader->map.size - left;
    if (reader->rdb.version < CHECKSUM_VERSION) {
        begin_reading(reader);
        return SC_IMPORT_BUSY;
    }
    if (left < CHECKSUM_SIZE && !reader->options.salvage) {
        return refuse(reader, "the file is cut off in its checksum", why);
    }
    if (left < CHECKSUM_SIZE || sc_le64_get(reader->rdb.at) == 0) {
        begin_reading(reader);
    } else {
        reader->phase = SUMMING;
    }
    return SC_IMPORT_BUSY;
}

static enum sc_import_result check(struct sc_import_reader *reader, char *why)
{
    for (int i = 0; i < STEPS; i++) {
        struct sc_rdb_item item;
        if (!sc_rdb_next(&reader->rdb, &item, why)) {
            if (!reader->options.salvage) {
                return refuse(reader, why, why);
            }
            begin_reading(reader);
            return SC_IMPORT_BUSY;
        }
        if (item.kind == SC_RDB_END) {
            return check_end(reader, why);
        }
        if (item.kind == SC_RDB_KEY && !see_db(reader, item.db, why)) {
            return SC_IMPORT_FAILED;
        }
    }
    return SC_IMPORT_BUSY;
}

static enum sc_import_result sum(struct sc_import_reader *reader, struct sc_import_record *record,
                                 char *why)
{
    size_t left = reader->end - reader->sum_at;
    size_t size = left < SUM_STEP ? left : SUM_STEP;
    reader->sum = sc_crc_update(&reader->crc, reader->sum, reader->map.data + reader->sum_at, size);
    reader->sum_at += size;
    if (size < left) {
        return SC_IMPORT_BUSY;
    }
    bool good = sc_le64_get(reader->map.data + reader->end) == reader->sum;
    begin_reading(reader);
    if (good) {
        return SC_IMPORT_BUSY;
    }
    if (!reader->options.salvage) {
        return refuse(reader, "the checksum is wrong, so something in the file is damaged", why);
    }
    *record =
        (struct sc_import_record){.kind = SC_IMPORT_CHECKSUM, .number = (uint64_t)reader->end};
    sc_why(why, "the checksum is wrong: at least one key or value is, and nothing tells which");
    return SC_IMPORT_LEFT_OUT;
}

/* ---- Reading ---- */

static enum sc_import_kind type_kind(enum sc_rdb_type type)
{
    switch (type) {
    case SC_RDB_LIST:
        return SC_IMPORT_REDIS_LIST;
    case SC_RDB_SET:
        return SC_IMPORT_REDIS_SET;
    case SC_RDB_ZSET:
        return SC_IMPORT_REDIS_ZSET;
    case SC_RDB_HASH:
        return SC_IMPORT_REDIS_HASH;
    case SC_RDB_STREAM:
        return SC_IMPORT_REDIS_STREAM;
    case SC_RDB_MODULE:
    case SC_RDB_STRING:
        break;
    }
    return SC_IMPORT_REDIS_MODULE;
}

static enum sc_import_result leave_out(struct sc_import_record *record, enum sc_import_kind kind,
                                       char *why, const char *text)
{
    record->kind = kind;
    sc_why(why, "%s", text);
    return SC_IMPORT_LEFT_OUT;
}

/* Reads a key's bytes into the record. */
static enum sc_import_result read_key(struct sc_import_reader *reader,
                                      const struct sc_rdb_string *key,
                                      struct sc_import_record *record, char *why)
{
    reader->key.size = 0;
    if (key->size > SC_KEY_MAX) {
        record->kind = SC_IMPORT_LONG_KEY;
        sc_why(why, "the key has %" PRIu64 " bytes: a key has 1 to %u bytes", key->size,
               SC_KEY_MAX);
        return SC_IMPORT_LEFT_OUT;
    }
    if (!sc_rdb_string_put(key, &reader->key)) {
        return leave_out(record, SC_IMPORT_DAMAGED, why, "the compressed key is damaged");
    }
    record->key = sc_buf_slice(&reader->key);
    return sc_import_check_key(record, why);
}

static enum sc_import_result read_value(struct sc_import_reader *reader,
                                        const struct sc_rdb_string *value,
                                        struct sc_import_record *record, char *why)
{
    reader->value.size = 0;
    if (value->size > SC_MESSAGE_MAX_DEFAULT) {
        record->kind = SC_IMPORT_LARGE_VALUE;
        sc_why(why, "the value has %" PRIu64 " bytes", value->size);
        return SC_IMPORT_LEFT_OUT;
    }
    if (!sc_rdb_string_put(value, &reader->value)) {
        return leave_out(record, SC_IMPORT_DAMAGED, why, "the compressed value is damaged");
    }
    return sc_import_set_bytes(record, sc_buf_slice(&reader->value), &reader->encoded, why);
}

/* Sets when a key expires. SC_IMPORT_NOTE when it has, or when that is further away than can be. */
static enum sc_import_result read_expiry(const struct sc_rdb_item *item,
                                         struct sc_import_record *record, char *why)
{
    int64_t now_ms = (int64_t)(sc_clock_wall_us() / 1000);
    if (!item->has_expiry) {
        return SC_IMPORT_RECORD;
    }
    if (item->expire_ms <= now_ms) {
        record->kind = SC_IMPORT_EXPIRED;
        sc_why(why, "the key has expired");
        return SC_IMPORT_NOTE;
    }
    if (item->expire_ms - now_ms > (int64_t)SC_TTL_MS_MAX) {
        record->ttl_ms = SC_TTL_MS_MAX;
        record->kind = SC_IMPORT_LONG_TTL;
        sc_why(why, "the key would expire at %" PRId64 " ms of Unix time", item->expire_ms);
        return SC_IMPORT_NOTE;
    }
    record->expires_ms = (uint64_t)item->expire_ms;
    return SC_IMPORT_RECORD;
}

static enum sc_import_result read_record(struct sc_import_reader *reader,
                                         const struct sc_rdb_item *item,
                                         struct sc_import_record *record, char *why)
{
    enum sc_import_result result = read_key(reader, &item->key, record, why);
    if (item->db != reader->db) {
        record->kind = SC_IMPORT_OTHER_DB;
        sc_why(why, "the key is in database %" PRIu64, item->db);
        return SC_IMPORT_LEFT_OUT;
    }
    if (result != SC_IMPORT_RECORD) {
        return result;
    }
    result = read_expiry(item, record, why);
    if (result == SC_IMPORT_NOTE && record->kind == SC_IMPORT_EXPIRED) {
        return result;
    }
    if (item->type != SC_RDB_STRING) {
        return leave_out(record, type_kind(item->type), why, "only string keys are imported");
    }
    if (result == SC_IMPORT_RECORD) {
        return read_value(reader, &item->value, record, why);
    }
    struct sc_import_record noted = *record;
    enum sc_import_result value = read_value(reader, &item->value, record, why);
    if (value != SC_IMPORT_RECORD) {
        return value;
    }
    reader->pending = true;
    reader->next = *record;
    *record = noted;
    return SC_IMPORT_NOTE;
}

static enum sc_import_result read_end(struct sc_import_reader *reader,
                                      struct sc_import_record *record, char *why)
{
    size_t end = reader->end + (reader->rdb.version >= CHECKSUM_VERSION ? CHECKSUM_SIZE : 0);
    reader->phase = ENDED;
    record->number = end;
    if (end < reader->map.size) {
        record->kind = SC_IMPORT_TRAILING;
        sc_why(why,
               "%zu bytes follow behind the end of the RDB: the commands of an append-only file? "
               "Let Redis rewrite it (BGSAVE) and import dump.rdb",
               reader->map.size - end);
        return SC_IMPORT_LEFT_OUT;
    }
    if (end > reader->map.size) {
        return leave_out(record, SC_IMPORT_STRETCH, why, "the file is cut off in its checksum");
    }
    return SC_IMPORT_END;
}

static enum sc_import_result read_item(struct sc_import_reader *reader,
                                       struct sc_import_record *record, char *why)
{
    struct sc_rdb_item item;
    *record = (struct sc_import_record){.number = (uint64_t)(reader->rdb.at - reader->rdb.start)};
    if (!sc_rdb_next(&reader->rdb, &item, why)) {
        reader->phase = ENDED;
        record->kind = SC_IMPORT_STRETCH;
        return SC_IMPORT_LEFT_OUT;
    }
    record->number = item.offset;
    switch (item.kind) {
    case SC_RDB_KEY:
        return read_record(reader, &item, record, why);
    case SC_RDB_FUNCTION:
        return leave_out(record, SC_IMPORT_REDIS_FUNCTION, why, "only string keys are imported");
    case SC_RDB_MODULE_AUX:
        return leave_out(record, SC_IMPORT_REDIS_MODULE, why, "only string keys are imported");
    case SC_RDB_END:
        break;
    }
    return read_end(reader, record, why);
}

static enum sc_import_result rdb_next(struct sc_import_reader *reader,
                                      struct sc_import_record *record, char *why)
{
    switch (reader->phase) {
    case CHECKING:
        return check(reader, why);
    case SUMMING:
        return sum(reader, record, why);
    case READING:
        if (reader->pending) {
            reader->pending = false;
            *record = reader->next;
            return SC_IMPORT_RECORD;
        }
        return read_item(reader, record, why);
    case ENDED:
        break;
    }
    *record = (struct sc_import_record){0};
    return SC_IMPORT_END;
}

const struct sc_import_format sc_import_rdb = {
    .name = "rdb",
    .unit = "offset",
    .suits = rdb_suits,
    .open = rdb_open,
    .next = rdb_next,
    .position = rdb_position,
    .close = rdb_close,
};
