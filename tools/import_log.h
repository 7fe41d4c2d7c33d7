/*
 * Reading a directory of a log-structured store: numbered files of records, where later records
 * replace earlier ones and tombstones delete.
 *
 * First all files are scanned in the order of their numbers, and an index keeps the newest record
 * of each key; then the live ones are read again, file by file, and handed out. What a record looks
 * like and which of two is newer is the format's business: it brings the functions below.
 */
#ifndef SC_TOOLS_IMPORT_LOG_H
#define SC_TOOLS_IMPORT_LOG_H

#include "tools/import.h"
#include "tools/import_dir.h"
#include "tools/import_index.h"
#include "tools/import_map.h"

struct sc_import_log;

struct sc_import_log_format {
    /* Before a file (number log->file, mapped) is scanned; may be NULL. SC_IMPORT_BUSY: scan it;
     * SC_IMPORT_NOTE: leave it out, `record` and `why` say why; SC_IMPORT_FAILED. */
    enum sc_import_result (*begin)(struct sc_import_log *log, struct sc_import_record *record,
                                   char *why);
    /* Looks at what is at log->offset (at most the size of the file), keeps it in the index and
     * moves the offset on. SC_IMPORT_BUSY: done; SC_IMPORT_END: the file has nothing more;
     * SC_IMPORT_LEFT_OUT or SC_IMPORT_NOTE with `record` (its file is set by the caller); or
     * SC_IMPORT_FAILED. */
    enum sc_import_result (*scan)(struct sc_import_log *log, struct sc_import_record *record,
                                  char *why);
    /* Reads the live record of an entry, whose file is mapped and reaches beyond its offset;
     * nothing else about its content is sure. The record has its key and place; sets the value and
     * returns SC_IMPORT_RECORD, or SC_IMPORT_LEFT_OUT with the kind and `why`. */
    enum sc_import_result (*read)(struct sc_import_log *log, const struct sc_import_entry *entry,
                                  struct sc_import_record *record, char *why);
};

struct sc_import_log {
    /* For the format. */
    struct sc_import_dir dir;
    struct sc_import_index index;
    struct sc_import_map map; /* of the present file */
    uint32_t file; /* its number in the listing */
    uint64_t offset;
    void *context; /* the format's own */

    /* Private. */
    const struct sc_import_log_format *format;
    bool reading; /* scanning is over */
    bool mapped;
    size_t entry; /* the next to be read */
    uint64_t passed; /* bytes in the files before the present one */
};

/* Takes the listing `dir`; `format` and `context` must stay until fini. */
void sc_import_log_init(struct sc_import_log *log, struct sc_import_dir *dir,
                        const struct sc_import_log_format *format, void *context);

/* These do what the functions of struct sc_import_format of the same name do. */
enum sc_import_result sc_import_log_next(struct sc_import_log *log, struct sc_import_record *record,
                                         char *why);
void sc_import_log_position(const struct sc_import_log *log, uint64_t *at, uint64_t *size);
void sc_import_log_fini(struct sc_import_log *log);

/* The bytes of the present file from `offset` on, which is within it. */
static inline struct sc_slice sc_import_log_bytes(const struct sc_import_log *log, uint64_t offset)
{
    return sc_slice(log->map.data + offset, log->map.size - (size_t)offset);
}

#endif
