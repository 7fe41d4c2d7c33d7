/*
 * Target: where the reply to a single-key request goes: to a client's connection, or into the
 * collected reply of a multi-key request.
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_COORDINATOR_TARGET_H
#define SC_COORDINATOR_TARGET_H

#include "common/sp.h"

struct sc_gather;

struct sc_target {
    struct sc_gather *gather; /* NULL: `origin` gets the reply as it is */
    uint32_t index; /* in the gather */
    uint16_t slot; /* of the request's key */
    bool bulky; /* the request is a read: its reply may be large */
    struct sc_sp_origin origin;
};

/* The connection that waits for it. */
const struct sc_sp_origin *sc_target_origin(const struct sc_target *target);

/* Answers; exactly once for each target. */
void sc_target_answer(const struct sc_target *target, struct sc_slice reply);
void sc_target_answer_status(const struct sc_target *target, enum sc_status status,
                             const char *why);

#endif
