/*
 * Damages: what is known to be damaged in a store that is open; whoever meets damage notes it here,
 * once. What the scrub does not find any more on its next way through a file is forgotten.
 *
 * Guarded by the lock of the store.
 */
#ifndef SC_SHARD_DAMAGES_H
#define SC_SHARD_DAMAGES_H

#include "shard/damage.h"

#define SC_DAMAGES_MAX 4096u /* entries; what is more is counted only */

struct sc_damages_entry {
    struct sc_damage damage; /* the key is owned */
    uint64_t found_ms; /* since 1970 */
    bool kept; /* its bytes are in the quarantine */
    bool tried; /* to be put there, whatever came of it */
    bool seen; /* since the last sc_damages_age of its file */
};

/* Readable. All zero: nothing is known. */
struct sc_damages {
    struct sc_damages_entry *entries; /* in the order in which they were found */
    size_t count;
    uint64_t found; /* ever noted, those that had no room included */
    uint64_t overflow; /* of these, those that had none */
    bool fresh; /* something was noted since this was set to false */
};

void sc_damages_fini(struct sc_damages *damages);

/* Notes damage; its key is copied. Of something already known only what was learnt since is taken
 * over. True: it is new. */
bool sc_damages_note(struct sc_damages *damages, const struct sc_damage *damage, uint64_t now_ms);

/* The entry of a stretch, or record, at this place; NULL: there is none. Valid until the next
 * change. */
struct sc_damages_entry *sc_damages_find(struct sc_damages *damages,
                                         const struct sc_damage *damage);

/* A scrub begins to read a file (0: MANIFEST and the like), or has read it: then what it did not
 * note again, and nobody else, is forgotten. */
void sc_damages_age(struct sc_damages *damages, uint64_t file);
void sc_damages_forget_unseen(struct sc_damages *damages, uint64_t file);

/* Damage of this kind in the file has been made good. */
void sc_damages_forget_kind(struct sc_damages *damages, uint64_t file, enum sc_damage_kind kind);

/* The file is no part of the store any more. */
void sc_damages_forget_file(struct sc_damages *damages, uint64_t file);

#endif
