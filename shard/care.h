/*
 * Care: what is done about damage. It is logged and noted (shard/damages.h), its bytes are put into
 * the quarantine, and what can be built again is: hints, and MANIFEST.
 *
 * Called by one thread at a time, without the lock of the store, which it takes through its host.
 */
#ifndef SC_SHARD_CARE_H
#define SC_SHARD_CARE_H

#include "shard/damage.h"

struct sc_bitcask;
struct sc_care;

struct sc_care_host {
    void (*lock)(void *arg);
    void (*unlock)(void *arg);
    void *arg;
};

struct sc_care *sc_care_alloc(struct sc_bitcask *store, const struct sc_care_host *host);
void sc_care_free(struct sc_care *care); /* NULL is allowed */

/* A scrub begins to read a file, has found something in it, or has read it: see shard/scrub.h. */
void sc_care_begin(struct sc_care *care, uint64_t file);
void sc_care_found(struct sc_care *care, const struct sc_damage *damage);
void sc_care_end(struct sc_care *care, uint64_t file, bool whole);

/* Sees to what others have noted: readers, merges, the opening of the store. */
void sc_care_attend(struct sc_care *care);

/* Whether there is anything for sc_care_attend to do. With the lock. */
bool sc_care_wanted(const struct sc_care *care);

#endif
