/*
 * Coordinator: what the coordinator daemon does with a message.
 *
 *   clients ==sp==> on_request --one key, many keys--> router --> backends ==sp==> shards
 *                              --scan-->               scanner
 *                              --count, clear, ...-->  fanout
 *                              --ping, map, ...-->     answered here
 *
 * Requests gather while the messages of one receive are worked off; on_drained sends what gathered.
 */
#ifndef SC_COORDINATOR_COORDINATOR_H
#define SC_COORDINATOR_COORDINATOR_H

#include "common/limits.h"
#include "common/sp.h"
#include "common/status.h"

#include <stddef.h>
#include <stdint.h>

struct sc_coordinator;

struct sc_coordinator_options {
    sc_sp_descriptor_fn *descriptor; /* of struct sc_sp_hub_options */
    const char *dir;
    const char *const *shard_urls; /* for the first start only */
    size_t shard_count;
    size_t message_max; /* bytes of a message body */
    uint32_t value_max; /* bytes of an encoded value */
    uint32_t timeout_ms; /* a shard has so long to answer a message */
    uint32_t connections_max; /* clients */
    uint32_t merges_at_once; /* shards that may merge at the same time */
    uint32_t idle_ms; /* a client silent for so long is disconnected; 0: never */
};

/* Opens the directory and begins to connect to the shards. SC_BADREQUEST: the flags are wrong. */
enum sc_status sc_coordinator_open(const struct sc_coordinator_options *options,
                                   struct sc_coordinator **out, char *why);

/* Starts to listen on an address; call it once for each. `bound` is valid until close. */
enum sc_status sc_coordinator_listen(struct sc_coordinator *coordinator, const char *url,
                                     const char **bound, char *why);

/* Tells in the log which shards are up, once, for the start. */
void sc_coordinator_log_shards(struct sc_coordinator *coordinator);

/* Takes no more connections, refuses new requests as unavailable, lets what is under way end, and
 * closes everything. NULL is allowed. */
void sc_coordinator_close(struct sc_coordinator *coordinator);

#endif
