/*
 * Service: the protocol on top of the store; what a shard daemon does with a message.
 *
 *   sp --message--> parse --about keys--> task (shard/task.h) --reply--> outbox (shard/outbox.h)
 *                     |                                                     ^
 *                     '----about the shard---------------reply--------------'
 *
 * Guarded by the hub's lock but for open, start, stop and close.
 */
#ifndef SC_SHARD_SERVICE_H
#define SC_SHARD_SERVICE_H

#include "common/sp.h"
#include "shard/bitcask.h"
#include "shard/scrubber.h"
#include "shard/upkeep.h"

struct sc_service;

struct sc_service_options {
    size_t message_max; /* bytes of a message body */
    uint32_t value_max; /* bytes of an encoded value */
    sc_sp_descriptor_fn *descriptor; /* of struct sc_sp_hub_options */
    int32_t sync_ms; /* as in struct sc_bitcask_options */
    struct sc_upkeep_options upkeep;
    uint64_t scrub_bytes_per_second; /* 0: only when asked */
};

/* Opens the hub and starts the threads that serve `store`, which is borrowed until close. */
enum sc_status sc_service_open(struct sc_bitcask *store, const struct sc_service_options *options,
                               struct sc_service **out, char *why);

/* Starts to listen on an address; call it once for each. */
enum sc_status sc_service_listen(struct sc_service *service, const char *url, const char **bound,
                                 char *why);

/* Takes no more connections, refuses new requests as unavailable, commits and answers what is under
 * way, then closes everything. The store stays open. NULL is allowed. */
void sc_service_close(struct sc_service *service);

#endif
