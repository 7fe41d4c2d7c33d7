/*
 * Redo: which operations of a list are to be sent once more, when a shard has refused some of them
 * (sc_course_refused).
 *
 * Operations on one key take effect in the order of the list. So whatever comes behind a refused
 * one on the same key is done again behind it, unless it may have changed something: then the
 * refused one must not come after it, and is given up. Slots stand for keys here, which is simpler
 * and errs on the safe side: a key has one slot.
 *
 * sc_redo_note is told of every operation in order; those for which it says true are candidates.
 * Then sc_redo_again tells which of these are to be sent again, in the same order.
 */
#ifndef SC_CLIENT_REDO_H
#define SC_CLIENT_REDO_H

#include "client/shardcask.h"
#include "common/slot.h"

struct sc_redo {
    bool any; /* something was refused; else the rest means nothing */
    uint8_t refused[SC_SLOT_COUNT / 8]; /* an operation on the slot was refused ... */
    uint8_t given_up[SC_SLOT_COUNT / 8]; /* ... and one behind it may have changed something */
};

static inline void sc_redo_init(struct sc_redo *redo)
{
    redo->any = false;
}

/* `refused`: the operation was certainly not applied and should be tried again. */
bool sc_redo_note(struct sc_redo *redo, const struct shardcask_op *op, bool refused);

/* For a candidate. */
bool sc_redo_again(const struct sc_redo *redo, const struct shardcask_op *op);

#endif
