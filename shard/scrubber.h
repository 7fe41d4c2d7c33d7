/*
 * Scrubber: reads the whole store again and again (shard/scrub.h) on a thread of its own, at a rate
 * that leaves the disk to others, and sees to what it finds: it is logged, noted for reports, and
 * its bytes are put into the quarantine.
 *
 * A pass begins an hour after the last one ended; when it ended, and how far the one is that is
 * under way, survives a restart. A pass that somebody asks for begins at once, from the first file,
 * and is faster: SC_SCRUBBER_ASKED_RATE, unless the rate that is set is higher.
 */
#ifndef SC_SHARD_SCRUBBER_H
#define SC_SHARD_SCRUBBER_H

#include "common/sp.h"
#include "shard/bitcask.h"
#include "shard/scrub.h"

struct sc_scrubber;

#define SC_SCRUBBER_RATE_DEFAULT (UINT64_C(8) << 20)
#define SC_SCRUBBER_ASKED_RATE (UINT64_C(64) << 20)

/* Starts the thread. Borrows hub and store until stop. bytes_per_second: 0: only when asked. Lock
 * not held. */
enum sc_status sc_scrubber_start(struct sc_sp_hub *hub, struct sc_bitcask *store,
                                 uint64_t bytes_per_second, struct sc_scrubber **out, char *why);

/* Ends the thread; a pass that is under way is given up, and goes on after the next start. Lock not
 * held. NULL is allowed. */
void sc_scrubber_stop(struct sc_scrubber *scrubber);

/* ---- Lock held from here on ---- */

/* From the hub's tick: wakes the thread if there is work. */
void sc_scrubber_tick(struct sc_scrubber *scrubber);

/* Takes effect at once, on a pass under way too. */
void sc_scrubber_configure(struct sc_scrubber *scrubber, uint64_t bytes_per_second);

/* Asks for a pass now. If one that was asked for is under way, that is the one. */
void sc_scrubber_ask(struct sc_scrubber *scrubber);

enum sc_scrubber_state {
    SC_SCRUBBER_OFF, /* the rate is 0, and nobody has asked */
    SC_SCRUBBER_IDLE, /* until the next pass is due */
    SC_SCRUBBER_READING,
};

struct sc_scrubber_figures {
    enum sc_scrubber_state state;
    bool asked; /* what was asked for is not done yet */
    uint64_t passes; /* that went through since the start */
    const char *error; /* what could not be read in it; "" when all could */
    struct sc_scrub_figures pass;
};
void sc_scrubber_figures(const struct sc_scrubber *scrubber, struct sc_scrubber_figures *figures);

#endif
