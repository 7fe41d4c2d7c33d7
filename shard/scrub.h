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
    /* Something is damaged. Without the lock; slices are valid during the call. */
    void (*found)(void *arg, const struct sc_damage *damage);
    /* A file was read to its end, or need not be read any more. Without the lock. */
    void (*passed)(void *arg, uint64_t file);
    void *arg;
};

struct sc_scrub *sc_scrub_alloc(struct sc_bitcask *store);
void sc_scrub_free(struct sc_scrub *scrub); /* NULL is allowed */

/* One pass, over the files with larger numbers than `after`. `notes`: tell of what is no damage
 * too. SC_OK: it went through, whatever it found. SC_UNAVAILABLE: it was told to stop. SC_IO:
 * something could not be read at all; the rest was. */
enum sc_status sc_scrub_run(struct sc_scrub *scrub, const struct sc_scrub_host *host,
                            uint64_t after, bool notes, char *why);

struct sc_scrub_figures {
    bool running;
    uint64_t bytes, bytes_done; /* of this pass, or the last one */
    uint64_t files;
};
void sc_scrub_figures(const struct sc_scrub *scrub, struct sc_scrub_figures *figures);

#endif
