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

/* What a coordinator says in x.grant. */
struct sc_membership_grant {
    uint64_t term, epoch;
    uint8_t owned[SC_SLOT_COUNT / 8];
    struct sc_membership_range *ranges; /* the whole map; owned here */
    size_t range_count;
};
void sc_membership_grant_fini(struct sc_membership_grant *grant); /* a zeroed one is fine */

/* Readable. All zero but `store`: nothing granted. */
struct sc_membership {
    struct sc_bitcask *store; /* borrowed */
    bool granted; /* by a coordinator, since the start */
    uint64_t epoch; /* of the map that was granted */
    uint8_t owned[SC_SLOT_COUNT / 8];
    struct sc_membership_grant latest; /* that has come, in effect or not; with its ranges */

    bool sealed; /* some slots are about to be handed over, and read until a certain time */
    uint8_t seal[SC_SLOT_COUNT / 8];
    uint64_t read_until_ms; /* monotonic */
};

void sc_membership_init(struct sc_membership *membership, struct sc_bitcask *store);
void sc_membership_fini(struct sc_membership *membership);

bool sc_membership_is_lapsed(const struct sc_membership *membership, uint32_t slot);

/* Whether the shard serves a slot now. */
static inline bool sc_membership_serves(const struct sc_membership *membership, uint32_t slot)
{
    return (membership->owned[slot / 8] >> (slot % 8) & 1) != 0 &&
           (!membership->sealed || !sc_membership_is_lapsed(membership, slot));
}

/* The same for all slots that it owns: false, and the first slot that it may not read any more. */
bool sc_membership_serves_all(const struct sc_membership *membership, uint32_t *lapsed);

/* Writes the refusal for a slot that is not served: moved, with the owner's address as far as it is
 * known, or unavailable while nothing has been granted, or nobody knows who owns it. */
void sc_membership_refuse(const struct sc_membership *membership, uint32_t slot,
                          struct sc_buf *reply);

/* ---- Grants: read, announced when they come, opened when they may take effect ---- */

/* Reads an x.grant, and judges it: SC_BADREQUEST; SC_DENIED, when it is not for this shard, older
 * than what it knows, or of slots that are not here. */
enum sc_status sc_membership_read_grant(const struct sc_membership *membership,
                                        const struct sc_msg_request *request,
                                        struct sc_membership_grant *grant, char *why);

/* A grant has come: what it does not have is not served any more. Takes the ranges. Returns whether
 * it is of a term that is not on disk yet. */
bool sc_membership_announce(struct sc_membership *membership, struct sc_membership_grant *grant);

/* It takes effect, unless another one has come meanwhile. */
void sc_membership_open(struct sc_membership *membership, const struct sc_membership_grant *grant);

/* Whether it is the one that came last. */
bool sc_membership_is_latest(const struct sc_membership *membership,
                             const struct sc_membership_grant *grant);

/* Whether the manifest has this grant already but for the coordinator's term. */
bool sc_membership_is_known(const struct sc_membership *membership,
                            const struct sc_membership_grant *grant);

/* Slots are about to be handed over: until then they may be read. */
void sc_membership_seal(struct sc_membership *membership, const uint8_t slots[SC_SLOT_COUNT / 8],
                        uint64_t until_ms);
void sc_membership_unseal(struct sc_membership *membership);

/* ---- Operations ---- */

/* The operations x.hello and x.adopt: each appends its reply. Adopting writes the manifest, durably
 * before the reply; it is rare enough to be done where it arrives. */
void sc_membership_hello(const struct sc_membership *membership, struct sc_buf *reply);
void sc_membership_adopt(struct sc_membership *membership, const struct sc_msg_request *request,
                         struct sc_buf *reply);

/* The operation x.slots: how much is in the slots served. */
void sc_membership_slots(const struct sc_membership *membership, struct sc_buf *reply);

/* The reply to "map" as far as this shard knows it. */
void sc_membership_map(const struct sc_membership *membership, struct sc_buf *reply);

#endif
