/*
 * Handover: slots on their way from and to other shards, and grants. It carries out what the
 * coordinator asks for (common/msg_move.h, x.grant) on a thread of its own, one after the other in
 * the order in which it came, so that nobody else waits for the disk.
 *
 *   x.import x.write x.finish x.drop     shard/importer.h
 *   x.export x.read x.seal x.release     shard/exporter.h
 *   x.grant                              shard/grant.h
 *
 * Tokens. Each x.import and x.export gives out a new one; what carries another is refused with
 * SC_NOTFOUND. A coordinator of a later term, and a grant of the slots, end them.
 *
 * Connections. What begins or ends a move carries no token. So all but grants is taken only from
 * the connection that the coordinator was introduced on last: the newest that has brought a grant
 * of the latest term. On any other it was sent before, and delayed: SC_NOTFOUND, and nothing
 * changes. What has been taken is carried out before what comes later.
 *
 * Leases. Sealed slots are read until the time that the seal came with, and not a moment longer:
 * then the slots may be another shard's, and this one need not know.
 *
 * Grants. Slots that are lost are not served from the moment at which a grant arrives. A grant of
 * the term that is known is answered at once, and slots that have arrived are served, before the
 * manifest has it: after a crash nothing is served before the next grant, which says the same; and
 * what is written to slots that are importing still lies behind their fence, like all that was
 * imported. Until it is in the manifest it is tried again. One of a new term is answered when that
 * is durable.
 *
 * Guarded by the hub's lock, but for start and stop.
 */
#ifndef SC_SHARD_HANDOVER_H
#define SC_SHARD_HANDOVER_H

#include "common/msg.h"
#include "common/sp.h"
#include "shard/committer.h"
#include "shard/membership.h"

struct sc_handover;

/* Starts the thread. Borrows all of these until stop. Lock not held. */
enum sc_status sc_handover_start(struct sc_sp_hub *hub, struct sc_bitcask *store,
                                 struct sc_committer *committer, struct sc_membership *membership,
                                 struct sc_handover **out, char *why);

/* Ends the thread after the step that it is at; what waits is refused. Lock not held. NULL is
 * allowed. */
void sc_handover_stop(struct sc_handover *handover);

/* Whether a request is one for this module. */
bool sc_handover_takes(enum sc_op op);

/* Carries out a request and answers `origin`, now or later; not begun after `deadline_ms`
 * (monotonic; UINT64_MAX: none). */
void sc_handover_run(struct sc_handover *handover, struct sc_msg_request *request,
                     const struct sc_sp_origin *origin, uint64_t deadline_ms);

/* A commit has ended. */
void sc_handover_committed(struct sc_handover *handover);

/* From the hub's tick. */
void sc_handover_tick(struct sc_handover *handover);

#endif
