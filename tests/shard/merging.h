/* Merges for tests: on the store of a fixture, by the thread of the test. What happens to the store
 * beside a merge happens in `beside`, which is called whenever the lock would be free. */
#ifndef SC_TESTS_SHARD_MERGING_H
#define SC_TESTS_SHARD_MERGING_H

#include "shard/merge.h"
#include "tests/shard/store.h"

struct merging {
    struct fixture *f;
    struct sc_merge *merge; /* NULL when the store is not open */
    struct sc_merge_options options;
    void (*beside)(void *arg);
    void *arg;
    bool busy; /* in `beside` */
    uint64_t stop_after; /* calls of proceed; 0: never */
    uint64_t proceeded; /* calls */
    char why[SC_WHY_SIZE];
};

/* Any file with 1% to gain is merged unless the options are changed. */
void merging_init(struct merging *m, struct fixture *f);
/* Call these instead of the fixture's. */
void merging_open(struct merging *m);
void merging_close(struct merging *m);
void merging_kill(struct merging *m); /* as fixture_kill */
void merging_reopen(struct merging *m);

/* One merge. */
enum sc_status merge_once(struct merging *m);
/* Merges until there is nothing left to merge. */
void merge_all(struct merging *m);
/* The same after asking for it, with the active file. */
void compact(struct merging *m);

struct sc_merge_figures merge_figures(const struct merging *m);

#endif
