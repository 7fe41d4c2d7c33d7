/*
 * Survey: how many keys and bytes each slot has, as its owner said when it was asked last. Batches
 * are cut by it, and estimates made.
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_COORDINATOR_SURVEY_H
#define SC_COORDINATOR_SURVEY_H

#include "coordinator/fleet.h"

/* Readable. Slots of which nothing is known have 0. */
struct sc_survey {
    struct sc_fleet *fleet; /* kept */
    uint64_t keys[SC_SLOT_COUNT];
    uint64_t bytes[SC_SLOT_COUNT]; /* of their records */
    bool asked[SC_SLOT_COUNT]; /* whether an owner has told, or is being asked */
};

struct sc_survey *sc_survey_alloc(struct sc_fleet *fleet);

/* After the backends were closed, which answers all who wait. NULL is allowed. */
void sc_survey_free(struct sc_survey *survey);

/* Asks a shard of the map. done(arg, told) is called exactly once, perhaps at once; `told`: the
 * figures of the slots that it owns are new. */
void sc_survey_ask(struct sc_survey *survey, uint32_t shard_id, void (*done)(void *arg, bool told),
                   void *arg);

/* Has the figures of a slot come in some time, if they are not there: its owner is asked, if it is
 * up, and has not been. */
void sc_survey_want(struct sc_survey *survey, uint32_t slot);

#endif
