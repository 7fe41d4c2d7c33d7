/*
 * Scrub: reads everything that a store has on disk, from one end to the other, and tells what is
 * damaged.
 *
 *   for each data file, by number:   head -> records -> end -> hint
 *   then:                            MANIFEST, DURABLE
 *
 * A file is read up to where it was committed when its turn came; what a merge takes away meanwhile
 * is left out. Nothing is changed. What is found to be damaged is read a second time before it is
 * told. A stretch without any whole record is told with the records that the file's hint knows to
 * have stood there, if there is a hint.
 *
 * Threads: sc_scrub_run is called by one thread at a time, without the lock of the store, which it
 * takes through its host, for microseconds. All other functions need the lock.
 */
#ifndef SC_SHARD_SCRUB_H
#define SC_SHARD_SCRUB_H

#include "shard/damage.h"

struct sc_bitcask;
struct sc_scrub;

/* What a scrub needs of its surroundings. */
struct sc_scrub_host {
    void (*lock)(void *arg);
    void (*unlock)(void *arg);
    /* So many bytes were read: the place to keep to a rate. Without the lock. False: stop. */
    bool (*proceed)(void *arg, uint64_t bytes);
    /* A data file is going to be read; 0: MANIFEST and the like. Without the lock. */
    void (*begin)(void *arg, uint64_t file);
    /* Something is damaged. Without the lock; slices are valid during the call. */
    void (*found)(void *arg, const struct sc_damage *damage);
    /* The file was read, `whole`: to its end; else it could not be. Without the lock. */
    void (*end)(void *arg, uint64_t file, bool whole);
    void *arg;
};

struct sc_scrub *sc_scrub_alloc(struct sc_bitcask *store);
void sc_scrub_free(struct sc_scrub *scrub); /* NULL is allowed */

/* One pass; `again`: from the first file, else it goes on where the last one was told to stop, also
 * if that was before the store was opened. `notes`: tell of what is no damage too. SC_OK: it went
 * through, whatever it found. SC_UNAVAILABLE: it was told to stop. SC_IO: something could not be
 * read at all; the rest was. */
enum sc_status sc_scrub_run(struct sc_scrub *scrub, const struct sc_scrub_host *host, bool again,
                            bool notes, char *why);

/* Looks at one place only, which was found damaged before: a stretch of that size, or what there
 * is now. Nothing happens when the file is no part of the store. */
void sc_scrub_look(struct sc_scrub *scrub, const struct sc_scrub_host *host,
                   const struct sc_damage *place);

struct sc_scrub_figures {
    bool running;
    bool interrupted; /* the last one was told to stop: the next may go on there */
    uint64_t bytes, bytes_done; /* of this pass, or the last one */
    uint64_t files;
    uint64_t began_ms; /* this pass, or the last one; ms since 1970; 0: never */
    uint64_t ended_ms; /* the last one that went through; 0: never */
};
void sc_scrub_figures(const struct sc_scrub *scrub, struct sc_scrub_figures *figures);

#endif
