/*
 * Lanes: single-key requests on their way to one shard.
 *
 *   submitted --> waiting --many in a message--> in flight --> answered
 *                  |    ^                            |
 *                  v    |                            +-- not begun: back to the front
 *                 aside or held
 *
 * Requests wait in one of two lanes, for reads and for everything that may write, and what waits
 * goes out as one message when the lane has few enough in flight: under load messages grow, when
 * idle nothing waits. Reads have a lane of their own so that they do not wait for the disk: they go
 * as x.peek, and those that the shard sends back, since what they need is not in its memory, go
 * again as x.join in a third lane, for cold reads. So nobody waits for the disk but who needs it.
 *
 * Inside a lane the order of submission is kept for the requests of one client, whatever follows,
 * and between reads of one client's request on the same key: when one of them goes to the third
 * lane, those behind it do too.
 *
 * The requests of a client that does not take the replies it has got are put aside: what they would
 * bring does not gather here, and they stand in nobody's way until it does.
 *
 * Requests for slots that are just being handed over are held (those that may write; all of them
 * when this is the shard that gets the slots), until it is clear which shard is to have them. When
 * a hold begins, everything for its slots that has not been sent is held too; sc_lanes_quiet tells
 * when what had been sent is answered.
 *
 * A request is never sent twice, except one that the shard says it has not begun or, a read, does
 * not own the slot of. When the connection is lost, reads in
 * flight end as unavailable (they may be tried again), writes in flight as unknown; what had not
 * been sent ends as unavailable.
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_COORDINATOR_LANES_H
#define SC_COORDINATOR_LANES_H

#include "coordinator/run.h"
#include "coordinator/slotset.h"

struct sc_backend;
struct sc_lanes_flight;

enum sc_lane { SC_LANE_READS, SC_LANE_WRITES, SC_LANE_COLD, SC_LANES };

struct sc_lanes_lane {
    struct sc_run waiting;
    struct sc_run aside; /* requests of stuffed connections; not counted as outstanding */
    struct sc_run held; /* for the slots of the hold; none of them waits or is aside */
    uint64_t relieved; /* of the hub when `aside` was last looked through */
    uint32_t in_flight; /* messages */
    uint32_t bulky; /* of those with writes, may come back in part */
};

/* Part of a backend. */
struct sc_lanes {
    struct sc_backend *backend;
    struct sc_lanes_lane lanes[SC_LANES];
    struct sc_lanes_flight *spare;
    bool holding; /* the slots below, in the lane for writes ... */
    bool holding_reads; /* ... and in those for reads */
    struct sc_slotset slots;
    uint64_t holds; /* that were begun, ever */
    uint32_t before_hold; /* messages of writes in flight that were sent before the hold began */
    uint64_t outstanding;
    uint64_t messages, operations; /* that were sent, ever */
};

void sc_lanes_init(struct sc_lanes *lanes, struct sc_backend *backend);
void sc_lanes_fini(struct sc_lanes *lanes); /* after sc_lanes_fail, with nothing in flight */

/* Puts a request into a lane, for reads or writes, or among those held: the caller appends the
 * encoded request to the buffer that is returned and calls sc_lanes_submit_end. NULL: the backend
 * is down or the queue is full, and the target has been answered. */
struct sc_buf *sc_lanes_submit_begin(struct sc_lanes *lanes, enum sc_lane lane,
                                     const struct sc_target *target);
void sc_lanes_submit_end(struct sc_lanes *lanes, enum sc_lane lane, const struct sc_target *target);

/* Sends what waits, as far as the lanes allow. */
void sc_lanes_flush(struct sc_lanes *lanes);

/* Ends every request that has not been sent, and the hold, with status 7. */
void sc_lanes_fail(struct sc_lanes *lanes, const char *why);

/* Begins to hold the requests for `slots`; there is no hold yet. */
void sc_lanes_hold(struct sc_lanes *lanes, const struct sc_slotset *slots, bool reads);

/* True when no write is in flight that was sent before the hold began. */
bool sc_lanes_quiet(const struct sc_lanes *lanes);

/* Ends a hold, if there is one; what was held waits again, behind all others. */
void sc_lanes_release(struct sc_lanes *lanes);

/* The slots held by `from` belong to `to` now: what is held goes there, where all requests for the
 * slots are held from now on. If `to` is down it ends as unavailable. */
void sc_lanes_hand_over(struct sc_lanes *from, struct sc_lanes *to);

/* Requests that wait in any way. */
uint64_t sc_lanes_waiting(const struct sc_lanes *lanes);

#endif
