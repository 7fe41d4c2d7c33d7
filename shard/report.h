/*
 * Report: what a shard tells of itself, in the replies to "stats", "damage" and "ping".
 */
#ifndef SC_SHARD_REPORT_H
#define SC_SHARD_REPORT_H

#include "common/sp.h"
#include "shard/membership.h"
#include "shard/scrubber.h"
#include "shard/snapshots.h"
#include "shard/upkeep.h"

/* Appends [0, {name: figure...}]. */
void sc_report_stats(struct sc_bitcask *store, const struct sc_membership *membership,
                     const struct sc_sp_listener_counts *connections,
                     const struct sc_upkeep *upkeep, const struct sc_snapshots *snapshots,
                     const struct sc_scrubber *scrubber, struct sc_buf *reply);

/* The reply to "damage": [0, {"known": how many, "damage": [{...}...]}], the newest
 * SC_REPORT_DAMAGE_MAX of them. */
#define SC_REPORT_DAMAGE_MAX 1000u
void sc_report_damage(const struct sc_bitcask *store, struct sc_buf *reply);

/* Appends [0, "shardcask", {version, role, ...}]. */
void sc_report_ping(const struct sc_membership *membership, struct sc_buf *reply);

#endif
