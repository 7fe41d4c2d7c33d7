/* Moves for tests: the part of the coordinator, between two stores of one process. What happens to
 * the stores beside a move happens in `beside`, which is called whenever a lock would be free. */
#ifndef SC_TESTS_SHARD_MOVE_DRIVER_H
#define SC_TESTS_SHARD_MOVE_DRIVER_H

#include "shard/exporter.h"
#include "shard/importer.h"
#include "tests/shard/store.h"

/* One of the two stores. Readable: all. */
struct move_end {
    struct fixture *f;
    struct sc_exporter *exporter; /* NULL when the store is not open */
    struct sc_importer *importer;
    struct move_driver *driver;
};

struct move_driver {
    struct move_end ends[2];
    void (*beside)(void *arg);
    void (*enter)(void *arg, unsigned end); /* work goes on at this end; may be NULL */
    void *arg;
    bool busy; /* in `beside` */
    char why[SC_WHY_SIZE];

    /* the move that is under way */
    uint64_t move;
    unsigned from; /* index of the source in `ends` */
    uint8_t slots[SC_SLOT_COUNT / 8];
    struct sc_buf cursor, mark;
    struct sc_exporter_page page; /* what was read last */
    struct sc_exporter_seal seal;
};

void move_init(struct move_driver *d, struct fixture *a, struct fixture *b);
void move_fini(struct move_driver *d);

/* To be called when a store was opened, and before it is closed. */
void move_opened(struct move_driver *d, unsigned end);
void move_closing(struct move_driver *d, unsigned end);

struct sc_move_host move_host(struct move_end *end);

/* Begins, or goes on after either side was restarted: what the mark says is heeded. */
enum sc_status move_begin(struct move_driver *d, uint64_t move, unsigned from,
                          const uint8_t slots[SC_SLOT_COUNT / 8]);

/* Reads a page at the source and writes it at the target. */
enum sc_status move_step(struct move_driver *d);

/* Steps until there is nothing left to read. */
enum sc_status move_to_end(struct move_driver *d);

/* Seals, copies the rest, finishes: from then on the target may own the slots. */
enum sc_status move_finish(struct move_driver *d);

/* Ends it on both sides without having moved anything. */
enum sc_status move_abort(struct move_driver *d);

/* The grant of an epoch at one end. */
enum sc_status move_grant(struct move_driver *d, unsigned end, uint64_t term, uint64_t epoch,
                          const uint8_t owned[SC_SLOT_COUNT / 8]);

#endif
