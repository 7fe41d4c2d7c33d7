/* Scrubs for tests: on the store of a fixture, by the thread of the test; what is found is kept. */
#ifndef SC_TESTS_SHARD_SCRUBBING_H
#define SC_TESTS_SHARD_SCRUBBING_H

#include "shard/scrub.h"
#include "tests/shard/store.h"

#define FOUND_MAX 256

struct found {
    struct sc_damage damage; /* its key is not valid: see `key` */
    char key[64]; /* "": none */
};

struct scrubbing {
    struct fixture *f;
    struct found found[FOUND_MAX];
    size_t count;
    uint64_t file; /* that is being read */
    uint64_t files_passed; /* data files that were read to their end */
    uint64_t bytes; /* that were read */
    uint64_t stop_after; /* calls of proceed; 0: never */
    void (*beside)(void *arg); /* called whenever the lock would be free; may be NULL */
    void *arg;
    char why[SC_WHY_SIZE];
};

/* Scrubs the fixture's store once, from its first file, notes included. */
enum sc_status scrub_once(struct scrubbing *s, struct fixture *f);

/* Scrubs once and sees to what is found, as the scrubber does. */
void scrub_with_care(struct fixture *f);

/* How many of a kind were found, and the first of them; NULL: there is none. */
size_t found_count(const struct scrubbing *s, enum sc_damage_kind kind);
const struct found *found_first(const struct scrubbing *s, enum sc_damage_kind kind);

/* How many were found that are no notes. */
size_t found_damages(const struct scrubbing *s);

#endif
