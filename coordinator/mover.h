/*
 * Mover: takes one batch of slots from the shard that owns them to another one, while both serve.
 *
 *   IMPORT -> EXPORT -> COPY -> HOLD -> SEAL -> REST -> FINISH -> COMMIT
 *     ^                 ^ |       |       |      |        |         |
 *     |                 | |       +-------+--+---+--------+         | MOVED is in the map log
 *     | a shard was     | |                  |                      v
 *     +-- away, or  ----+-+               UNSEAL                  FENCE -> ACTIVATE -> END
 *         lost its place ^                   | 50 ms are over
 *                        +-------------------+       (GIVE_UP -> END: the source keeps owning)
 *
 * - IMPORT: the target makes room, and tells from where to go on after an interruption;
 * - EXPORT: the source notes its place in its log;
 * - COPY: frames from the source to the target, one being read while another is written; first
 *   every key there is, then what was logged since, until little is left, and the target has all
 *   but the last of it on disk;
 * - HOLD: new requests that may write to these slots wait here, those on their way are answered;
 * - SEAL: the source refuses writes to them, and tells what it has;
 * - REST: the last records;
 * - FINISH: the target has the same, on disk;
 * - COMMIT: MOVED is recorded in the map log, the one step by which ownership changes;
 * - FENCE: the source is granted the new map, or the time until which it answers reads is over;
 * - ACTIVATE: the target is granted the new map, and gets the requests that were held;
 * - END: ENDED is recorded.
 *
 * From HOLD to COMMIT the requests wait; if that takes too long (see pause.h) the attempt is
 * given up: the source goes on as before, and after a while it is tried again. So writers that are
 * faster than the copy are slowed down until it catches up.
 *
 * Nothing is lost whatever dies: before MOVED is recorded the source owns the slots and has all of
 * their records, and behind it the target. While it is not known whether MOVED is in the log, the
 * source is granted nothing: one that was restarted has forgotten that it is sealed. The target is
 * granted nothing that it could serve before the source is fenced.
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_COORDINATOR_MOVER_H
#define SC_COORDINATOR_MOVER_H

#include "coordinator/fleet.h"

struct sc_mover;

/* Who has the batch moved. Constant. */
struct sc_mover_owner {
    struct sc_fleet *fleet;
    /* Whether frames of the bulk may be copied now (the rate); asked again at every sc_mover_poke.
     * What was logged since it began must be had faster than it is written: nobody is asked. */
    bool (*may_copy)(void *arg);
    void (*copied)(void *arg, uint64_t bytes, bool bulk);
    /* ENDED is recorded. SC_OK: the slots are the target's. Else they are the source's, and `why`
     * says why: SC_UNAVAILABLE, it was told to give up. The mover is freed by then. */
    void (*done)(void *arg, uint64_t move, enum sc_status status, const char *why);
    void *arg;
};

/* Begins, or goes on with, the batch `move`, which is recorded and has not ended. `keys` and
 * `bytes` are about what is in its slots. Borrows `owner`. */
struct sc_mover *sc_mover_start(const struct sc_mover_owner *owner, uint64_t move, uint64_t keys,
                                uint64_t bytes);

/* The fleet is being closed: frees. The backends are closed already. NULL is allowed. */
void sc_mover_free(struct sc_mover *mover);

/* Copies nothing, and begins no cut-over, until it is told otherwise. */
void sc_mover_pause(struct sc_mover *mover, bool paused);

/* From tick and timer, when requests have been answered (on_drained), and when may_copy may have
 * changed: goes on with whatever waits. */
void sc_mover_poke(struct sc_mover *mover);

/* From sc_backend_shared.on_change, for any backend. */
void sc_mover_on_change(struct sc_mover *mover, struct sc_backend *backend);

/* For sc_backend_shared.may_grant. When the answer turns into yes, sc_backend_grant is called. */
bool sc_mover_may_grant(const struct sc_mover *mover, const struct sc_backend *backend);

/* Gives up, unless MOVED is recorded or just being so; `done` is called then all the same. */
void sc_mover_give_up(struct sc_mover *mover);

/* Whether clear and count have to wait, or to be refused as busy: slots are being handed over. */
bool sc_mover_is_cutting_over(const struct sc_mover *mover);

struct sc_mover_figures {
    uint64_t bytes, bytes_done; /* about what there is, and what was copied */
    uint64_t attempts; /* cut-overs that were begun */
    uint64_t pause_us; /* how long requests waited at the last one; 0: none yet */
    const char *stage; /* a word */
    const char *trouble; /* why it does not get on, "" if it does; valid until the next call */
};
void sc_mover_figures(const struct sc_mover *mover, struct sc_mover_figures *figures);

#endif
