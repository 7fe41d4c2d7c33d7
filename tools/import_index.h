/*
 * The newest record of each key of a source, and where it is.
 *
 * A hash table over an array of entries; the keys lie one behind the other in a buffer of their
 * own. A key costs its own bytes and some 52 more.
 */
#ifndef SC_TOOLS_IMPORT_INDEX_H
#define SC_TOOLS_IMPORT_INDEX_H

#include "common/buf.h"

enum sc_import_state {
    SC_IMPORT_LIVE,
    SC_IMPORT_DELETED,
    SC_IMPORT_UNREADABLE, /* the newest record of the key is damaged */
};

struct sc_import_entry {
    /* For the reader. */
    uint64_t offset; /* of the record in its file */
    int64_t order; /* of formats that order by a time */
    uint32_t file; /* its number in the listing */
    enum sc_import_state state;

    /* Private. */
    uint32_t key_size;
    uint64_t key_at;
};

struct sc_import_slot {
    uint32_t tag; /* bits of the hash: most other keys differ here */
    uint32_t entry; /* its number + 1; 0: free */
};

/* Readable: entries, count. All zero is a valid, empty index. */
struct sc_import_index {
    struct sc_import_entry *entries;
    size_t count;

    /* Private. */
    size_t room;
    struct sc_buf keys;
    struct sc_import_slot *slots; /* a power of two of them */
    size_t slot_count;
};

/* The entry of a key. When it is new, *is_new is true and all fields for the reader are zero. Valid
 * until the next call. A key must have less than 4 GiB. */
struct sc_import_entry *sc_import_index_entry(struct sc_import_index *index, struct sc_slice key,
                                              bool *is_new);

/* Sorts the entries by file and offset. No key can be looked up or added afterwards. */
void sc_import_index_sort(struct sc_import_index *index);

/* The key of an entry; valid until one is added. */
struct sc_slice sc_import_index_key(const struct sc_import_index *index,
                                    const struct sc_import_entry *entry);

/* Frees everything and leaves an empty index. */
void sc_import_index_fini(struct sc_import_index *index);

#endif
