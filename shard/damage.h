/*
 * Damage: one thing that is wrong on the disk of a store, and what it means.
 *
 * What can be lost:
 *
 *   value     header and key of a record are whole, the value is not what was written
 *   record    a record in a damaged stretch, which the hint tells of
 *   stretch   bytes that are no whole record
 *   lost      a record that says that the value was lost before
 *   end       the end of a data file is missing
 *   file      a whole data file is missing, or is another one
 *
 * What loses nothing: there are two of it, or it can be built from the data files.
 *
 *   head      of a data file
 *   hint, manifest, durable
 *
 * And what is no damage, but shows: notes.
 *
 *   torn      the end of the newest file is no whole record: the trace of a crash, cut off by the
 *             next opening
 *   void      the same in the middle, passed over
 *   unhinted  a data file without a hint, or with one that does not tell all of it
 */
#ifndef SC_SHARD_DAMAGE_H
#define SC_SHARD_DAMAGE_H

#include "common/buf.h"
#include "common/status.h"
#include "shard/files.h"

/* enumerator, name */
#define SC_DAMAGE_LIST(X)             \
    X(SC_DAMAGE_VALUE, "value")       \
    X(SC_DAMAGE_RECORD, "record")     \
    X(SC_DAMAGE_STRETCH, "stretch")   \
    X(SC_DAMAGE_LOST, "lost")         \
    X(SC_DAMAGE_END, "end")           \
    X(SC_DAMAGE_FILE, "file")         \
    X(SC_DAMAGE_HEAD, "head")         \
    X(SC_DAMAGE_HINT, "hint")         \
    X(SC_DAMAGE_MANIFEST, "manifest") \
    X(SC_DAMAGE_DURABLE, "durable")   \
    X(SC_DAMAGE_TORN, "torn")         \
    X(SC_DAMAGE_VOID, "void")         \
    X(SC_DAMAGE_UNHINTED, "unhinted")

enum sc_damage_kind {
#define SC_DAMAGE_ENUM(enumerator, name) enumerator,
    SC_DAMAGE_LIST(SC_DAMAGE_ENUM)
#undef SC_DAMAGE_ENUM
};

struct sc_damage {
    enum sc_damage_kind kind;
    uint64_t file; /* number of the data file; 0: none */
    uint64_t offset; /* in it, of a hint in that ... */
    uint64_t size;
    struct sc_slice key; /* value, record, lost; data is NULL: not known */
    uint64_t version; /* of that record; 0: not known */
    bool live; /* value, record, lost: nothing newer is there: the key answers SC_CORRUPT */
    bool known; /* stretch, end, file: the hint tells of every record that was there */
    bool unreadable; /* the disk gave an error */
};

/* Whether it is a note only. */
bool sc_damage_is_note(const struct sc_damage *damage);

/* Its kind in a word; static. */
const char *sc_damage_name(enum sc_damage_kind kind);

/* The name of the file that it is in. */
void sc_damage_file(const struct sc_damage *damage, char name[SC_FILES_NAME_SIZE]);

/* What it means, in a sentence without a full stop; static. */
const char *sc_damage_meaning(const struct sc_damage *damage);

#endif
