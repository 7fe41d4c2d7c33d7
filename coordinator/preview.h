/*
 * Preview: the plan before it is carried out: what each shard would give each other one, in slots,
 * keys and bytes, by the map as it is or as it would be after one more change; and about how long
 * that takes. The shards that would give are asked what they have.
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_COORDINATOR_PREVIEW_H
#define SC_COORDINATOR_PREVIEW_H

#include "coordinator/survey.h"

/* Answers `origin`, now or later; `change` may be NULL. `rate`: bytes a second that are moved, 0:
 * not known. SC_BUSY: the change does not fit the map (any more); SC_UNAVAILABLE: a shard is down.
 */
void sc_preview_answer(struct sc_survey *survey, const struct sc_change *change, uint64_t rate,
                       const struct sc_sp_origin *origin);

/* About how long it takes to move so much at a rate that is known. */
uint64_t sc_preview_seconds(uint64_t slots, uint64_t bytes, uint64_t rate);

#endif
