/*
 * Membership: which cluster a shard belongs to and which slots it serves.
 *
 * A shard starts with every slot fenced. It serves what the coordinator has granted it since it was
 * started, in its current map; what the directory remembers of earlier grants only tells what a
 * directory may be used for. So a shard that was away for long never answers for slots that have
 * moved meanwhile.
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_SHARD_MEMBERSHIP_H
#define SC_SHARD_MEMBERSHIP_H

#include "common/msg.h"
#include "shard/bitcask.h"

/* One stretch of the coordinator's map: who owns it and where. */
struct sc_membership_range {
    uint32_t first, last;
    uint32_t shard_id;
    char url[SC_URL_MAX + 1];
};

/* Readable. All zero but `store`: nothing granted. */
struct sc_membership {
    struct sc_bitcask *store; /* borrowed */
    bool granted; /* by a coordinator, since the start */
    uint64_t epoch; /* of the map that was granted */
    uint8_t owned[SC_SLOT_COUNT / 8];
    struct sc_membership_range *ranges; /* the whole map; owned here */
    size_t range_count;
};

void sc_membership_init(struct sc_membership *membership, struct sc_bitcask *store);
void sc_membership_fini(struct sc_membership *membership);

/* Whether the shard serves a slot now. */
static inline bool sc_membership_serves(const struct sc_membership *membership, uint32_t slot)
{
    return (membership->owned[slot / 8] >> (slot % 8) & 1) != 0;
}

/* Writes the refusal for a slot that is not served: moved, with the owner's address as far as it is
 * known, or unavailable while nothing has been granted. */
void sc_membership_refuse(const struct sc_membership *membership, uint32_t slot,
                          struct sc_buf *reply);

/* The operations x.hello, x.adopt and x.grant: each appends its reply. Adopting and granting write
 * the manifest, durably before the reply; they are rare enough to be done where they arrive. */
void sc_membership_hello(const struct sc_membership *membership, struct sc_buf *reply);
void sc_membership_adopt(struct sc_membership *membership, const struct sc_msg_request *request,
                         struct sc_buf *reply);
void sc_membership_grant(struct sc_membership *membership, const struct sc_msg_request *request,
                         struct sc_buf *reply);

/* The operation x.slots: how much is in the slots served. */
void sc_membership_slots(const struct sc_membership *membership, struct sc_buf *reply);

/* The reply to "map" as far as this shard knows it. */
void sc_membership_map(const struct sc_membership *membership, struct sc_buf *reply);

#endif
