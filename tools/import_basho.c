/*
 * Import of a directory of Basho's Bitcask.
 *
 * Files count in the order of their numbers, entries in the order of their offsets, and the last
 * one of a key wins; the time in an entry decides nothing. Every CRC is checked. After damage:
 *
 * - A valid hint file tells where the damaged entry ends and of which key it was. Without one, an
 *   entry that ends where a good one begins, or the file ends, is taken by its word, key included.
 *   Such a key is left out: an older value of it does not come back in the place of the newest.
 * - Otherwise the search is for the next good entry, and the stretch up to there is left out.
 * - A hint to what lies behind the end of a file tells the keys of entries that were cut off.
 *
 * A file that others may execute, or with the set-user-id bit, has been merged into others and only
 * waits to be removed; deleted keys would come back from it.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "tools/basho.h"
#include "tools/import_log.h"

#define SUFFIX ".bitcask.data"
#define HINT_SUFFIX ".bitcask.hint"

struct sc_import_reader {
    struct sc_import_log log;
    struct sc_crc crc;
    struct sc_import_map hint_map; /* of the present file's hints */
    struct sc_basho_hints hints;
    uint64_t hint_offset; /* the next hint that matters is there or beyond */
    bool lock_checked;
    struct sc_buf value; /* encoded */
};

/* Reads the hints of the present file, if there are any that can be trusted. */
static void open_hints(struct sc_import_reader *reader)
{
    char name[NAME_MAX + 1];
    char path[PATH_MAX];
    const char *data_name = reader->log.dir.files[reader->log.file].name;
    sc_import_map_close(&reader->hint_map);
    reader->hints = (struct sc_basho_hints){0};
    reader->hint_offset = 0;
    (void)snprintf(name, sizeof name, "%.*s%s", (int)(strlen(data_name) - strlen(SUFFIX)),
                   data_name, HINT_SUFFIX);
    if (sc_import_dir_path(&reader->log.dir, name, path) &&
        sc_import_map_open(&reader->hint_map, path, NULL) == SC_OK) {
        (void)sc_basho_hints_open(
            &reader->crc, sc_slice(reader->hint_map.data, reader->hint_map.size), &reader->hints);
    }
}

static enum sc_import_result begin(struct sc_import_log *log, struct sc_import_record *record,
                                   char *why)
{
    if ((log->dir.files[log->file].mode & (S_IXOTH | S_ISUID)) != 0) {
        record->kind = SC_IMPORT_MERGED;
        sc_why(why, "the file's mode says that a merge has copied what is live in it");
        return SC_IMPORT_NOTE;
    }
    open_hints(log->context);
    return SC_IMPORT_BUSY;
}

/* Keeps what is at `offset` as the newest of its key. When that replaces a damaged entry, gives a
 * note of that one. */
static enum sc_import_result keep(struct sc_import_log *log, struct sc_slice key, uint64_t offset,
                                  enum sc_import_state state, struct sc_import_record *record,
                                  char *why)
{
    bool is_new;
    struct sc_import_entry *entry = sc_import_index_entry(&log->index, key, &is_new);
    bool was_damaged = !is_new && entry->state == SC_IMPORT_UNREADABLE;
    if (was_damaged) {
        *record = (struct sc_import_record){
            .key = sc_import_index_key(&log->index, entry),
            .number = entry->offset,
            .file = log->dir.files[entry->file].name,
            .kind = SC_IMPORT_HARMLESS,
        };
        sc_fail(why, SC_CORRUPT, "a damaged record that a later one replaces");
    }
    entry->offset = offset;
    entry->file = log->file;
    entry->state = state;
    return was_damaged ? SC_IMPORT_NOTE : SC_IMPORT_BUSY;
}

/* Keeps what a hint tells of an entry that cannot be read. */
static enum sc_import_result keep_hint(struct sc_import_log *log, const struct sc_basho_hint *hint,
                                       struct sc_import_record *record, char *why)
{
    return keep(log, hint->key, hint->offset,
                hint->deleted ? SC_IMPORT_DELETED : SC_IMPORT_UNREADABLE, record, why);
}

/* The end of a damaged entry that a hint names: what the hint says, but where the next begins when
 * that is beyond the end of the file. */
static uint64_t hinted_end(struct sc_import_reader *reader, const struct sc_basho_hint *hint)
{
    struct sc_basho_hint next;
    uint64_t size = reader->log.map.size;
    if (hint->size <= size - hint->offset) {
        return hint->offset + hint->size;
    }
    return sc_basho_hints_seek(&reader->hints, hint->offset + 1, &next) && next.offset < size
               ? next.offset
               : size;
}

/* Whether an entry whose CRC is wrong ends where one begins whose CRC is right, or at the end. */
static bool ends_well(const struct sc_import_reader *reader, struct sc_slice bytes,
                      const struct sc_basho_entry *entry)
{
    struct sc_basho_entry next;
    struct sc_slice rest =
        sc_slice((const uint8_t *)bytes.data + entry->size, bytes.size - (size_t)entry->size);
    return entry->key.size > 0 &&
           (rest.size == 0 || (sc_basho_read(&reader->crc, rest, &next) && next.good));
}

static enum sc_import_result leave_stretch(struct sc_import_log *log, uint64_t end,
                                           struct sc_import_record *record, char *why)
{
    record->kind = SC_IMPORT_STRETCH;
    sc_fail(why, SC_CORRUPT, "%" PRIu64 " bytes are no record: %s", end - log->offset,
            end == log->map.size ? "cut off or damaged, to the end of the file" : "damaged");
    log->offset = end;
    return SC_IMPORT_LEFT_OUT;
}

/* Steps over what is damaged at the present offset. */
static enum sc_import_result scan_damage(struct sc_import_log *log, struct sc_import_record *record,
                                         char *why)
{
    struct sc_import_reader *reader = log->context;
    struct sc_slice bytes = sc_import_log_bytes(log, log->offset);
    uint64_t offset = log->offset;
    struct sc_basho_hint hint;
    struct sc_basho_entry entry;
    if (sc_basho_hints_seek(&reader->hints, offset, &hint)) {
        if (hint.offset != offset || hint.size < SC_BASHO_HEAD_SIZE) {
            uint64_t next = hint.offset != offset ? hint.offset : offset + 1;
            return leave_stretch(log, next < log->map.size ? next : log->map.size, record, why);
        }
        log->offset = hinted_end(reader, &hint);
        return keep_hint(log, &hint, record, why);
    }
    if (sc_basho_read(&reader->crc, bytes, &entry) && ends_well(reader, bytes, &entry)) {
        log->offset += entry.size;
        return keep(log, entry.key, offset, SC_IMPORT_UNREADABLE, record, why);
    }
    return leave_stretch(log, offset + sc_basho_find(&reader->crc, bytes, 1), record, why);
}

static enum sc_import_result scan(struct sc_import_log *log, struct sc_import_record *record,
                                  char *why)
{
    struct sc_import_reader *reader = log->context;
    struct sc_basho_entry entry;
    struct sc_basho_hint hint;
    uint64_t offset = log->offset;
    if (offset == log->map.size) {
        /* What has been cut off altogether. */
        uint64_t from = reader->hint_offset > offset ? reader->hint_offset : offset;
        if (!sc_basho_hints_seek(&reader->hints, from, &hint)) {
            return SC_IMPORT_END;
        }
        reader->hint_offset = hint.offset + 1;
        return keep_hint(log, &hint, record, why);
    }
    if (!sc_basho_read(&reader->crc, sc_import_log_bytes(log, offset), &entry) || !entry.good) {
        return scan_damage(log, record, why);
    }
    log->offset += entry.size;
    return keep(log, entry.key, offset, entry.deleted ? SC_IMPORT_DELETED : SC_IMPORT_LIVE, record,
                why);
}

static enum sc_import_result read_live(struct sc_import_log *log,
                                       const struct sc_import_entry *entry,
                                       struct sc_import_record *record, char *why)
{
    struct sc_import_reader *reader = log->context;
    struct sc_basho_entry found;
    if (!sc_basho_read(&reader->crc, sc_import_log_bytes(log, entry->offset), &found) ||
        !found.good) {
        record->kind = SC_IMPORT_DAMAGED;
        sc_fail(why, SC_CORRUPT, "the file has changed during the import");
        return SC_IMPORT_LEFT_OUT;
    }
    return sc_import_set_bytes(record, found.value, &reader->value, why);
}

static const struct sc_import_log_format log_format = {begin, scan, read_live};

/* ---- The lock ---- */

/* The first line of a small file in `text`; false when there is none. */
static bool read_line(const char *path, char *text, int size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    bool read = fgets(text, size, file) != NULL;
    (void)fclose(file); /* only read */
    return read;
}

/* Whether a lock file names a process that runs here and is Erlang's: the number alone may be of
 * another machine, or another process's by now. */
static bool is_locked(const struct sc_import_reader *reader, const char *name)
{
    char path[PATH_MAX];
    char text[64];
    if (!sc_import_dir_path(&reader->log.dir, name, path) || !read_line(path, text, sizeof text)) {
        return false;
    }
    unsigned long pid = strtoul(text, NULL, 10);
    (void)snprintf(path, sizeof path, "/proc/%lu/comm", pid);
    return pid > 0 && read_line(path, text, sizeof text) && strncmp(text, "beam", 4) == 0;
}

/* ---- The format ---- */

static bool basho_suits(const char *path)
{
    return sc_import_dir_has(path, "", SUFFIX);
}

static struct sc_import_reader *basho_open(const char *path,
                                           const struct sc_import_options *options, char *why)
{
    (void)options;
    struct sc_import_dir dir;
    if (sc_import_dir_list(&dir, path, "", SUFFIX, why) != SC_OK) {
        return NULL;
    }
    if (dir.count == 0) {
        sc_fail(why, SC_BADREQUEST, "%s is no directory of Bitcask: no N%s is there", path, SUFFIX);
        sc_import_dir_fini(&dir);
        return NULL;
    }
    struct sc_import_reader *reader = sc_calloc(1, sizeof *reader);
    sc_crc_init(&reader->crc, SC_CRC_32);
    sc_import_log_init(&reader->log, &dir, &log_format, reader);
    return reader;
}

static enum sc_import_result basho_next(struct sc_import_reader *reader,
                                        struct sc_import_record *record, char *why)
{
    static const char *const locks[] = {"bitcask.write.lock", "bitcask.merge.lock"};
    if (!reader->lock_checked) {
        reader->lock_checked = true;
        for (size_t i = 0; i < sizeof locks / sizeof *locks; i++) {
            if (is_locked(reader, locks[i])) {
                *record = (struct sc_import_record){.file = locks[i], .kind = SC_IMPORT_LOCKED};
                sc_why(why, "the process named in it runs: what it writes from now on is "
                            "not imported; stop it, or import again after that");
                return SC_IMPORT_NOTE;
            }
        }
    }
    return sc_import_log_next(&reader->log, record, why);
}

static void basho_position(const struct sc_import_reader *reader, uint64_t *at, uint64_t *size)
{
    sc_import_log_position(&reader->log, at, size);
}

static void basho_close(struct sc_import_reader *reader)
{
    sc_import_log_fini(&reader->log);
    sc_import_map_close(&reader->hint_map);
    sc_buf_fini(&reader->value);
    free(reader);
}

const struct sc_import_format sc_import_basho = {
    .name = "basho",
    .unit = "offset",
    .suits = basho_suits,
    .open = basho_open,
    .next = basho_next,
    .position = basho_position,
    .close = basho_close,
};
